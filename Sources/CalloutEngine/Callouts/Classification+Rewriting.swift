// SPDX-License-Identifier: Apache-2.0

public import PacketViews

extension Classification {
  /// Changes the packet's contents; checksums are put right afterwards.
  ///
  /// The change takes effect if the packet is let go. A second call, by any callout, goes on from
  /// the first one's result. What the kernel would drop is refused here, with nothing changed.
  public mutating func rewrite(
    _ original: borrowing ClassifiedPacket,
    _ change: (inout PacketEdit) throws(RewriteError) -> Void
  ) throws(RewriteError) {
    guard original.layout.isCapturedWhole else {
      events.rewritesRefused &+= 1
      throw .truncated
    }
    do {
      try rewritten.apply(change, original)
    } catch {
      events.rewritesRefused &+= 1
      throw error
    }
  }
}

/// A packet's new contents, in buffers that serve packet after packet.
package struct RewrittenPacket: ~Copyable {
  /// The longest packet that a verdict's netlink attribute can carry.
  private static let room = 65531
  private var current = [UInt8](repeating: 0, count: Self.room)
  private var draft = [UInt8](repeating: 0, count: Self.room)
  /// The new length in bytes, 0 if the packet has not been rewritten.
  package private(set) var length = 0

  /// Forgets the contents, for the next packet.
  package mutating func reset() { length = 0 }

  /// The new contents.
  package var contents: Span<UInt8> {
    @_lifetime(borrow self) get { current.span.extracting(0..<length) }
  }

  mutating func replace(with contents: [UInt8]) {
    current.replaceSubrange(0..<contents.count, with: contents)
    length = contents.count
  }

  /// Works on a draft, so that a change that fails half way leaves nothing behind.
  mutating func apply(
    _ change: (inout PacketEdit) throws(RewriteError) -> Void,
    _ original: borrowing ClassifiedPacket
  ) throws(RewriteError) {
    let isFirst = length == 0
    let count = isFirst ? original.bytes.byteCount : length
    guard count <= Self.room else { throw .tooLong(count) }
    let layout: PacketLayout
    if isFirst {
      layout = original.layout
    } else {
      guard let parsed = try? PacketLayout(parsing: contents.packetBytes) else { throw .truncated }
      layout = parsed
    }
    let newLength = try Self.write(
      change, original, layout, isFirst ? nil : current.prefix(length), &draft)
    swap(&current, &draft)
    length = newLength
  }

  private static func write(
    _ change: (inout PacketEdit) throws(RewriteError) -> Void,
    _ original: borrowing ClassifiedPacket, _ layout: PacketLayout,
    _ current: ArraySlice<UInt8>?, _ draft: inout [UInt8]
  ) throws(RewriteError) -> Int {
    var span = draft.mutableSpan
    var bytes = span.mutablePacketBytes
    let length: Int
    if let current {
      bytes.copyBytes(current.span.packetBytes, to: 0)
      length = current.count
    } else {
      bytes.copyBytes(original.bytes, to: 0)
      length = original.bytes.byteCount
    }
    var edit = try PacketEdit(
      bytes, length: length, layout: layout,
      checksum: current == nil && original.metadata.isChecksumPartial ? .partial : .complete)
    try change(&edit)
    edit.repairChecksums()
    try validateReplacement(original: original.bytes, replacement: edit.packet)
    return edit.length
  }
}

extension RewrittenPacket {
  /// Takes contents that were kept while the packet was pended.
  package mutating func restore(_ contents: [UInt8]) {
    guard !contents.isEmpty, contents.count <= Self.room else { return reset() }
    replace(with: contents)
  }
}
