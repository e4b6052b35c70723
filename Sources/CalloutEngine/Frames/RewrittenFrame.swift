// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

/// A frame's new MAC header; the rest of the frame stays where it is.
package struct RewrittenFrame: BitwiseCopyable, Sendable {
  /// Before the header there is room for all tags that a frame can have.
  private static var room: Int { 4 * EthernetHeader.tagLimit }
  private var storage: [96 of UInt8] = .init(repeating: 0)
  private var start: UInt8 = 0
  private var length: UInt8 = 0
  private var replaced: UInt8 = 0

  package init() {}

  /// Whether there is a new header.
  package var isRewritten: Bool { length != 0 }

  /// How many bytes of the frame the new header takes the place of.
  package var replacedLength: Int { Int(replaced) }

  /// The new header's length in bytes.
  package var headerLength: Int { Int(length) }

  /// Forgets the header, for the next frame.
  package mutating func reset() { length = 0 }

  /// By how many bytes the frame became longer, or shorter.
  package var shift: Int { isRewritten ? Int(length) &- Int(replaced) : 0 }

  /// The new header, in `target` from `offset` on; false if it does not fit.
  package func write(to target: inout MutableRawSpan, at offset: Int) -> Bool {
    target.copyBytes(header(), to: offset)
  }

  @_lifetime(borrow self)
  borrowing func header() -> RawSpan {
    storage.span.packetBytes.slice(from: Int(start), length: Int(length))
  }

  /// The whole frame as it is after the change.
  package func contents(of original: [UInt8]) -> [UInt8] {
    guard isRewritten else { return original }
    var result = [UInt8](repeating: 0, count: max(0, original.count &+ shift))
    var span = result.mutableSpan
    var target = span.mutablePacketBytes
    _ = write(to: &target, at: 0)
    target.copyBytes(original.span.packetBytes.slice(from: replacedLength), to: headerLength)
    return result
  }

  /// Applies a change; one that fails half way leaves what was there.
  mutating func apply(
    _ change: (inout FrameEdit) throws(FrameRewriteError) -> Void,
    _ original: borrowing ClassifiedFrame
  ) throws(FrameRewriteError) {
    var draft = self
    let layout: FrameLayout
    if isRewritten {
      layout = FrameLayout(parsing: header())
    } else {
      layout = original.layout
      guard Self.room + layout.networkOffset <= draft.storage.count else {
        throw .malformed(.tooManyTags)
      }
      draft.start = UInt8(truncatingIfNeeded: Self.room)
      draft.length = UInt8(truncatingIfNeeded: layout.networkOffset)
      draft.replaced = draft.length
    }
    try draft.edit(change, original.bytes, isFirst: !isRewritten, layout)
    self = draft
  }

  private mutating func edit(
    _ change: (inout FrameEdit) throws(FrameRewriteError) -> Void, _ original: RawSpan,
    isFirst: Bool, _ layout: FrameLayout
  ) throws(FrameRewriteError) {
    let (first, count) = (Int(start), Int(length))
    var (newStart, newLength) = (first, count)
    do {
      var span = storage.mutableSpan
      var bytes = span.mutablePacketBytes
      if isFirst { bytes.copyBytes(original.slice(from: 0, length: count), to: first) }
      var edit = try FrameEdit(bytes, start: first, length: count, layout: layout)
      try change(&edit)
      (newStart, newLength) = (edit.start, edit.length)
    }
    start = UInt8(truncatingIfNeeded: newStart)
    length = UInt8(truncatingIfNeeded: newLength)
  }
}
