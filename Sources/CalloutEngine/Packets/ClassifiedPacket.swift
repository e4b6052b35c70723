// SPDX-License-Identifier: Apache-2.0

public import Kernel
public import PacketTagging
public import PacketViews

/// One packet on its way through `classify`: a borrowed view that cannot outlive the call.
///
/// Mirrors what `classifyFn` gets as fixed values, metadata and layer data.
public struct ClassifiedPacket: ~Copyable, ~Escapable {
  /// The packet from its IP header on, as far as it was copied.
  ///
  /// No bytes are ever changed here.
  public let bytes: RawSpan
  /// Where its headers lie and what they say.
  public let layout: PacketLayout
  /// The layer at which it is classified.
  public let layer: Layer
  /// What the kernel says of it.
  public let metadata: PacketMetadata
  /// The hook at which it waits.
  public let hook: Hook
  @usableFromInline let pin: AddressPin

  /// A view of a packet whose layout has been parsed from these bytes.
  ///
  /// `hook` is needed where the layer is met at more than one.
  @inlinable
  @_lifetime(copy bytes)
  public init(
    bytes: RawSpan, layout: PacketLayout, layer: Layer, metadata: PacketMetadata, hook: Hook? = nil
  ) {
    self.bytes = bytes
    self.layout = layout
    self.layer = layer
    self.metadata = metadata
    self.hook = hook ?? layer.hook ?? .prerouting
    pin = AddressPin()
  }

  /// Which way it goes, nil if it is forwarded.
  public var direction: Direction? {
    switch hook {
    case .prerouting, .input: .inbound
    case .forward: nil
    case .output, .postrouting: .outbound
    }
  }

  /// The same packet at another layer of its hook, where its flow may be authorized again.
  @_lifetime(copy self)
  package func met(at layer: Layer, isReauthorization: Bool = false) -> ClassifiedPacket {
    var metadata = metadata
    metadata.isReauthorization = isReauthorization
    return ClassifiedPacket(
      bytes: bytes, layout: layout, layer: layer, metadata: metadata, hook: hook)
  }

  /// The same packet at the discard layer of `layer`, dropped for a reason.
  @_lifetime(copy self)
  package func discarded(at layer: Layer, for reason: UInt32) -> ClassifiedPacket {
    var metadata = metadata
    metadata.dropReason = reason
    return ClassifiedPacket(
      bytes: bytes, layout: layout, layer: layer.discard ?? layer, metadata: metadata, hook: hook)
  }

  /// A hash of its directional 5-tuple.
  public var flowHash: UInt64 { layout.flowHash }

  /// The captured bytes as an array of their own.
  package func copyBytes() -> [UInt8] {
    var copy = [UInt8](repeating: 0, count: bytes.byteCount)
    var span = copy.mutableSpan
    var target = span.mutablePacketBytes
    target.copyBytes(bytes, to: 0)
    return copy
  }
}
