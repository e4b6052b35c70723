// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import PacketTagging
internal import PacketViews
internal import Synchronization

/// Sends whole IP packets as this host's, with our mark on them.
final class PacketInjector: Sendable {
  private let sockets = Mutex<(ipv4: RawIPSocket?, ipv6: RawIPSocket?)>((nil, nil))
  private let field: MarkField?
  private let epoch: Bool

  init(field: MarkField?, epoch: Bool) {
    self.field = field
    self.epoch = epoch
  }

  /// Whether packets are marked, so that they are known later.
  var marks: Bool { field != nil }

  /// Sends a packet that bears `handle`; `isMarked` adds the mark of what we injected.
  func send(
    _ bytes: [UInt8], bearing handle: UInt32, isMarked: Bool
  ) throws(InjectionError) {
    guard let layout = try? PacketLayout(parsing: bytes.span.packetBytes) else {
      throw .refused(errno: 22, text: "the bytes are not an IP packet")
    }
    let mark = field?.mark(0, bearing: handle, epoch: epoch, injected: isMarked) ?? 0
    let isIPv6 = layout.version == .v6
    let destination = layout.destinationAddress
    let result = sockets.withLock { sockets -> Result<Void, SystemError> in
      Result { () throws(SystemError) in
        let socket: RawIPSocket
        if let open = isIPv6 ? sockets.ipv6 : sockets.ipv4 {
          socket = open
        } else {
          socket = try RawIPSocket(isIPv6: isIPv6)
          if isIPv6 { sockets.ipv6 = socket } else { sockets.ipv4 = socket }
        }
        try socket.send(bytes, mark: mark, high: destination.high, low: destination.low)
      }
    }
    if case .failure(let error) = result {
      throw .refused(errno: error.errno, text: error.description)
    }
  }
}
