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
  /// A buffer takes over the head of another, and with it the mark.
  case headCopied = "head_copied"
  /// A buffer becomes a fragment of another.
  case fragmentedIPv4 = "fragmented_ipv4"
  /// The same, of IPv6.
  case fragmentedIPv6 = "fragmented_ipv6"
  /// A buffer gives up what its head holds, since it is freed.
  case headReleased = "head_released"
  /// A datagram that was read is freed.
  case datagramFreed = "datagram_freed"
  /// A buffer is freed whose data went over to another.
  case headStolen = "head_stolen"
  /// A buffer loses its mark on the way to another network namespace.
  case scrubbed
  /// A buffer is cloned.
  case cloned
  /// A buffer is copied with its data.
  case duplicated
  /// A buffer is copied with some of its data.
  case duplicatedInPart = "duplicated_in_part"

  /// Those that tell what becomes of a packet, each by itself.
  static let witnesses: [Self] = [.sent, .dropped, .freed, .reached, .read]
  /// Those that count which buffers bear a handle, all together.
  static let counters = allCases.filter { !witnesses.contains($0) }

  /// Without it nothing could be told.
  var isEssential: Bool { self == .sent || self == .dropped }

  /// What cannot be told without it.
  private var loss: String {
    switch self {
    case .sent: "which device took a packet"
    case .dropped: "who dropped a packet"
    case .freed: "that the stack itself took a packet"
    case .reached: "that a packet reached a socket"
    case .read: "that a program read a packet"
    default: "how many copies there are of a packet; they are inferred"
    }
  }

  /// Where it is attached: a tracepoint, the root of the control groups, or a kernel function.
  fileprivate var attachment: String {
    switch self {
    case .sent: "tracepoint net_dev_start_xmit"
    case .dropped: "tracepoint kfree_skb"
    case .freed: "tracepoint consume_skb"
    case .reached: "cgroup_skb/ingress"
    case .read: "tracepoint skb_copy_datagram_iovec"
    case .headCopied: "fentry __copy_skb_header"
    case .fragmentedIPv4: "fentry ip_copy_metadata"
    case .fragmentedIPv6: "fentry ip6_copy_metadata"
    case .headReleased: "fentry skb_release_head_state"
    case .datagramFreed: "fentry __consume_stateless_skb"
    case .headStolen: "fentry napi_skb_free_stolen_head"
    case .scrubbed: "fentry skb_scrub_packet"
    case .cloned: "fexit skb_clone"
    case .duplicated: "fexit skb_copy"
    case .duplicatedInPart: "fexit __pskb_copy_fclone"
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
    default: "observe-copies"
    }
  }

  func unsupported(_ error: SystemError) -> FeatureSupport {
    .unsupported(
      reason: "\(error)", remedy: "without it Callout cannot tell \(loss)")
  }
}

/// A program in the kernel, not yet attached.
final class LoadedProgram: Sendable {
  let program: ObserverProgram
  private let descriptor: OwnedDescriptor
  /// Where it is attached, if not to a tracepoint.
  private let controlGroup: ControlGroup?

  private init(
    _ program: ObserverProgram, _ descriptor: consuming OwnedDescriptor, _ group: ControlGroup?
  ) {
    self.program = program
    self.descriptor = descriptor
    controlGroup = group
  }

  /// Loads programs, all or none; each stays as long as what is returned for it.
  static func load(
    _ programs: [ObserverProgram], sightings: CInt, bearers: CInt = -1,
    settings: ObserverSettings
  ) throws(SystemError) -> [LoadedProgram] {
    let root = programs.contains(.reached) ? try ControlGroup.openRoot() : nil
    let names = programs.map(\.rawValue).joined(separator: " ")
    let maps = bearers < 0 ? "sightings" : "sightings bearers"
    let object = PackageResources.lifecycle_bpf_o
    var descriptors = [CInt](repeating: -1, count: programs.count)
    let result = unsafe withUnsafeBytes(of: settings) { settings in
      unsafe object.withUnsafeBytes { object in
        unsafe names.withCString { names in
          unsafe maps.withCString { maps in
            unsafe descriptors.withUnsafeMutableBufferPointer { descriptors in
              var request = unsafe clb_request(
                object: object.baseAddress, object_size: object.count, programs: names,
                descriptors: descriptors.baseAddress, maps: maps,
                map_descriptors: (sightings, bearers),
                settings: settings.baseAddress, settings_size: settings.count)
              return unsafe clb_load(&request)
            }
          }
        }
      }
    }
    guard result == 0 else {
      let first = programs.first?.attachment ?? ""
      throw .current("load for \(first)" + (programs.count > 1 ? " and its like" : ""))
    }
    return zip(programs, descriptors).map { program, descriptor in
      LoadedProgram(
        program, OwnedDescriptor(owning: descriptor), program == .reached ? root : nil)
    }
  }

  fileprivate func attach() throws(SystemError) -> OwnedDescriptor {
    let number = descriptor.number
    let link =
      switch controlGroup {
      case .some(let group): clb_attach_to_cgroup(number, group.descriptor.number)
      case nil: clb_attach(number)
      }
    return try OwnedDescriptor(checking: link, operation: "attach to \(program.attachment)")
  }
}

/// A program that is attached as long as this exists.
final class AttachedProgram: Sendable {
  private let descriptor: OwnedDescriptor
  init(_ program: LoadedProgram) throws(SystemError) { descriptor = try program.attach() }
}
