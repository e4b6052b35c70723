// SPDX-License-Identifier: Apache-2.0

internal import CLibBPF
internal import Glibc
internal import Kernel

/// The programs of `lifecycle.bpf.c`, under their functions' names.
public enum ObserverProgram: String, Sendable, CaseIterable {
  /// A device takes a packet.
  case sent = "start_xmit"
  /// A packet is dropped.
  case dropped = "kfree"
  /// A packet is freed after use.
  case freed = "consume"
  /// A packet reaches a socket.
  case reached = "reached"
  /// A program reads a packet from its socket.
  case read = "read_by_program"

  /// Without it nothing could be told.
  var isEssential: Bool { self == .sent || self == .dropped }

  /// What cannot be told without it.
  private var purpose: String {
    switch self {
    case .sent: "which device took a packet"
    case .dropped: "who dropped a packet"
    case .freed: "that the stack itself took a packet"
    case .reached: "that a packet reached a socket"
    case .read: "that a program read a packet"
    }
  }

  /// Where it is attached: a tracepoint, or the root of the control groups.
  fileprivate var attachment: String {
    switch self {
    case .sent: "tracepoint net_dev_start_xmit"
    case .dropped: "tracepoint kfree_skb"
    case .freed: "tracepoint consume_skb"
    case .reached: "cgroup_skb/ingress"
    case .read: "tracepoint skb_copy_datagram_iovec"
    }
  }

  /// The feature's name in `calloutd probe`.
  public var featureName: String {
    switch self {
    case .sent: "observe-sent"
    case .dropped: "observe-dropped"
    case .freed: "observe-freed"
    case .reached: "observe-reached"
    case .read: "observe-read"
    }
  }

  func unsupported(_ error: SystemError) -> FeatureSupport {
    .unsupported(
      reason: "\(attachment): \(error)", remedy: "without it Callout cannot tell \(purpose)")
  }

  /// Loads it; it stays as long as the descriptor.
  func load(
    map: borrowing OwnedDescriptor, settings: ObserverSettings
  ) throws(SystemError) -> OwnedDescriptor {
    let object = PackageResources.lifecycle_bpf_o
    let map = map.number
    let program = unsafe withUnsafeBytes(of: settings) { settings in
      unsafe object.withUnsafeBytes { object in
        unsafe rawValue.withCString { program in
          unsafe "sightings".withCString { name in
            var request = unsafe clb_request(
              object: object.baseAddress, object_size: object.count, program: program, map: name,
              map_descriptor: map, settings: settings.baseAddress, settings_size: settings.count)
            return unsafe clb_load(&request)
          }
        }
      }
    }
    return try OwnedDescriptor(checking: program, operation: "load a program for \(attachment)")
  }

}

/// A program in the kernel, not yet attached.
final class LoadedProgram: Sendable {
  let program: ObserverProgram
  private let descriptor: OwnedDescriptor
  /// Where it is attached, if not to a tracepoint.
  private let controlGroup: OwnedDescriptor?

  init(
    _ program: ObserverProgram, map: borrowing OwnedDescriptor, settings: ObserverSettings
  ) throws(SystemError) {
    self.program = program
    descriptor = try program.load(map: map, settings: settings)
    controlGroup = program == .reached ? try ControlGroups.openRoot() : nil
  }

  /// Attaches it as long as the descriptor that it returns is kept.
  func attach() throws(SystemError) -> OwnedDescriptor {
    let number = descriptor.number
    let link =
      switch controlGroup {
      case .some(let group): clb_attach_to_cgroup(number, group.number)
      case nil: clb_attach(number)
      }
    return try OwnedDescriptor(checking: link, operation: "attach to \(program.attachment)")
  }
}
