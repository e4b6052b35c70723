// SPDX-License-Identifier: Apache-2.0

internal import Kernel
public import PacketViews

/// Sends invented or kept frames into a device's stack, or by the device, from any thread.
///
/// They do not meet the divert that it was made from, whether that is attached or not, but those of
/// other engines. It keeps the helper device, so it should go with the divert.
public final class FrameInjector: Sendable {
  private let port: DivertPort
  /// Sends by the device, or inbound by the helper.
  private let socket: FrameSocket
  private let detour: FrameSocket?

  init(_ port: DivertPort) throws(DivertError) {
    self.port = port
    let helper = port.helper.index
    switch port.options.direction {
    case .inbound:
      socket = try port.socket(on: helper)
      detour = nil
    case .outbound:
      socket = try port.socket(on: port.options.device)
      detour = try port.socket(on: helper)
    }
  }

  /// Which way frames go.
  public var direction: LinkDirection { port.options.direction }

  /// Sends one frame: from its MAC header on, or of a raw-IP device the packet.
  ///
  /// `mark` without the injected bit; `offload` says what is left for the device to do; `trail` is that
  /// of a frame that was diverted and goes on late, nil for what is new to other engines.
  public func inject(
    _ frame: RawSpan, mark: UInt32 = 0, priority: UInt32 = 0,
    offload: FrameOffload = FrameOffload(), trail: FrameTrail? = nil
  ) -> FrameSendResult {
    let isRawIP = port.form != .ethernet
    guard isRawIP ? Self.isPacket(frame) : frame.byteCount >= FrameEnvelope.macBytes else {
      return .malformed
    }
    let isLate = trail != nil
    let mark = mark & ~port.options.injectedBit
    let marked = mark | port.options.injectedBit
    let trail =
      trail?.adding(port.options.injectedBit) ?? .injection(by: port.options.injectedBit)
    return port.inject { presence in
      guard let detour else {
        return send(frame, marked, priority, offload, trail, by: socket, linked: isRawIP)
      }
      if presence != .closing {
        let mark = presence == .attached ? marked : mark
        let result = send(frame, mark, priority, offload, trail, by: socket, linked: false)
        if result != .tooLong { return result }
      }
      // The helper takes longer ones than the device, whose driver would have to cope with them.
      guard isLate || offload.isSegmentationPending || fits(frame) else { return .tooLong }
      return send(frame, marked, priority, offload, trail, by: detour, linked: isRawIP)
    }
  }

  /// Whether the device takes a frame of that length, with all its VLAN tags; the kernel grants one.
  private func fits(_ frame: RawSpan) -> Bool {
    let isRawIP = port.form != .ethernet
    let header = isRawIP ? 0 : FrameEnvelope.macBytes + 4 * FrameLayout(parsing: frame).tagCount
    // Of one that has gone the kernel tells.
    guard let device = try? LinkDevice.find(index: port.options.device) else { return true }
    return frame.byteCount <= Int(device.mtu) + header
  }

  private static func isPacket(_ bytes: RawSpan) -> Bool {
    switch bytes.byte(at: 0) >> 4 {
    case 4: bytes.byteCount >= 20
    case 6: bytes.byteCount >= 40
    default: false
    }
  }

  /// Sends a frame behind a virtio header and, if `linked`, a MAC header for an IP packet.
  private func send(
    _ frame: RawSpan, _ mark: UInt32, _ priority: UInt32, _ offload: FrameOffload,
    _ trail: FrameTrail, by socket: FrameSocket, linked: Bool
  ) -> FrameSendResult {
    var head: [24 of UInt8] = .init(repeating: 0)
    var envelope = FrameEnvelope()
    envelope.frameStart = FrameEnvelope.virtioBytes + (linked ? FrameEnvelope.macBytes : 0)
    var span = head.mutableSpan
    var bytes = span.mutablePacketBytes
    envelope.store(offload, in: &bytes)
    if linked {
      let type = frame.byte(at: 0) >> 4 == 6 ? EtherType.ipv6 : EtherType.ipv4
      bytes.storeBigEndian16(type.rawValue, at: 22)
    }
    return unsafe head.span.withUnsafeBytes { head in
      unsafe frame.withUnsafeBytes { frame in
        unsafe socket.send(
          UnsafeRawBufferPointer(rebasing: head[..<envelope.frameStart]), frame, mark: mark,
          priority: priority, trail: trail)
      }
    }
  }
}
