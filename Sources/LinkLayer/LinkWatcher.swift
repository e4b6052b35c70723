// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import Kernel

/// Something that happened to the devices of a network namespace.
public enum LinkEvent: Sendable, Hashable {
  /// A device came, or its name, address, MTU, flags or master changed.
  ///
  /// `RTM_NEWLINK`.
  case changed(LinkDevice)
  /// A device went, into another namespace perhaps.
  ///
  /// `RTM_DELLINK`.
  case removed(LinkDevice)
  /// More happened than there was room to tell: read the devices anew.
  ///
  /// `ENOBUFS`.
  case overrun
}

/// What happens to the devices of the network namespace in which it was made.
///
/// Wait for `pollDescriptor`, then take events until there are none. For one thread at a time.
public struct LinkWatcher: ~Copyable {
  private let socket: LinkSocket
  private var buffer = LinkBuffer()

  /// Begins to watch.
  public init() throws(LinkError) {
    socket = try LinkSocket(watching: true)
  }

  /// The descriptor to wait on.
  public var pollDescriptor: CInt { socket.number }

  /// The next event, nil if there is none now.
  public mutating func next() throws(LinkError) -> LinkEvent? {
    while true {
      while let message = buffer.next() {
        switch message {
        case .device(let device): return .changed(device)
        case .removed(let device): return .removed(device)
        case .done, .refused, .discipline, .filter, .other: break
        }
      }
      guard buffer.fill(from: socket.number) else {
        switch errno {
        case EAGAIN: return nil
        case ENOBUFS: return .overrun
        default: throw .system(.current("watch devices"))
        }
      }
    }
  }
}
