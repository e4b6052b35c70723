// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import LinkLayer
internal import PacketTagging
internal import PacketViews

/// The frames of one device in one direction, as one worker decides them.
final class FramePort {
  /// Which port it is.
  struct Name: Hashable, Sendable {
    var device: UInt32
    var direction: LinkDirection
  }

  private(set) var traits: FrameTraits
  /// The device's name at the last look.
  private(set) var deviceName: String
  var divert: FrameDivert
  /// What each frame of the batch bears, for those that cannot be put back.
  var bearers = [UInt32](repeating: 0, count: FrameDivert.batchSize)
  /// Frames that could not be put back, by their place in the batch.
  var failed: [Int] = []
  /// No filter needs it any more.
  var isUnwanted = false

  init(_ divert: consuming FrameDivert, injector: FrameInjector) {
    traits = FrameTraits(divert, injector: injector)
    deviceName = divert.device.name
    self.divert = divert
    failed.reserveCapacity(FrameDivert.batchSize)
  }

  /// Takes over what has changed of the device.
  func learn(_ device: LinkDevice) {
    deviceName = device.name
    traits.learn(device)
  }

  /// The descriptor to wait on for frames.
  var pollDescriptor: CInt { divert.pollDescriptor }
  var name: Name { Name(device: divert.options.device, direction: divert.options.direction) }
}

/// What all frames of a port have in common.
struct FrameTraits: Sendable {
  let direction: LinkDirection
  let isRawIP: Bool
  /// Whether the device is a bridge, whose frames come to its ports next.
  let isBridge: Bool
  /// Whether it belongs to another, such as a bridge.
  private(set) var isPort: Bool
  private(set) var metadata: CalloutEngine.FrameMetadata
  /// Sends what was taken out of the port's ring.
  let injector: FrameInjector

  init(_ divert: borrowing FrameDivert, injector: FrameInjector) {
    let device = divert.device
    direction = divert.options.direction
    isRawIP = divert.isRawIP
    isBridge = device.driver == "bridge"
    isPort = device.master != nil
    self.injector = injector
    var metadata = CalloutEngine.FrameMetadata()
    metadata.interfaceIndex = device.index
    metadata.interfaceAddress = device.address ?? MACAddress(rawValue: 0)
    metadata.hardwareType = HardwareType(rawValue: device.kind)
    // A device that no driver made up has a connector.
    metadata.hasConnector = device.driver == nil
    self.metadata = metadata
  }

  /// Takes over what has changed of the device.
  mutating func learn(_ device: LinkDevice) {
    isPort = device.master != nil
    metadata.interfaceAddress = device.address ?? MACAddress(rawValue: 0)
  }

  /// The port's layers in the order in which a frame meets them.
  var layers: [2 of Layer] {
    switch direction {
    case .inbound: [.inboundMACFrameNative, .inboundMACFrameEthernet]
    case .outbound: [.outboundMACFrameEthernet, .outboundMACFrameNative]
    }
  }

  /// Where its frames are met.
  var place: HookSet { direction == .inbound ? .receivedFrames : .sentFrames }

  /// A frame's layout and metadata.
  func describe(
    _ bytes: RawSpan, _ kernel: LinkLayer.FrameMetadata
  ) -> (layout: FrameLayout, metadata: CalloutEngine.FrameMetadata) {
    var metadata = metadata
    metadata.mark = kernel.mark
    metadata.priority = kernel.priority
    metadata.originalLength = UInt32(clamping: bytes.byteCount)
    metadata.offload = kernel.offload
    metadata.isTagBeside = kernel.wasTagBeside
    return (layout(of: bytes), metadata)
  }

  private func layout(of bytes: RawSpan) -> FrameLayout {
    isRawIP ? FrameLayout(parsingRawIP: bytes) : FrameLayout(parsing: bytes)
  }
}

extension FrameTraits {
  /// The port, told from others and from the hooks.
  var injectionPlace: UInt64 {
    UInt64(metadata.interfaceIndex) << 2 | (direction == .inbound ? 1 : 2)
  }

  /// Notes by what a frame's flow is known; true if it is a fragment.
  @discardableResult
  static func identify(
    _ bytes: RawSpan, _ layout: FrameLayout, _ packet: inout TaggedPacket
  ) -> Bool {
    let hash = layout.flowHash(in: bytes)
    packet.fingerprint = UInt32(truncatingIfNeeded: hash ^ hash >> 32)
    guard layout.etherType == .ipv4 || layout.etherType == .ipv6 else { return false }
    let network = layout.network(in: bytes)
    guard let parsed = try? PacketLayout(parsing: network) else { return false }
    packet.fingerprint = parsed.isFragment ? 0 : parsed.flowFingerprint.rawValue
    packet.fragmentKey = parsed.isFragment ? parsed.fragmentKey : 0
    packet.digest = parsed.digest(in: network)
    packet.isDatagram = parsed.transportProtocol == .udp
    return parsed.isFragment
  }

  /// Notes by what the flow of a frame that is to be injected is known.
  func identify(_ bytes: RawSpan, _ packet: inout TaggedPacket) {
    Self.identify(bytes, layout(of: bytes), &packet)
  }

  /// Whether a frame can be sent at the port.
  func accepts(_ bytes: RawSpan) -> Bool {
    let layout = layout(of: bytes)
    return isRawIP ? layout.etherType == .ipv4 || layout.etherType == .ipv6 : layout.hasAddresses
  }

  /// The frame in which the device would receive an IP packet.
  func frame(of packet: [UInt8], _ version: IPVersion) -> [UInt8] {
    guard !isRawIP else { return packet }
    let address = (0..<6).map { byte in
      UInt8(truncatingIfNeeded: metadata.interfaceAddress.rawValue >> UInt64(40 - 8 * byte))
    }
    let type = version == .v4 ? EtherType.ipv4 : EtherType.ipv6
    let bytes = [UInt8(type.rawValue >> 8), UInt8(truncatingIfNeeded: type.rawValue)]
    return address + [UInt8](repeating: 0, count: 6) + bytes + packet
  }
}
