// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

extension RewrittenFrame {
  /// The new header as a bridge's queue takes it: the 14 bytes without VLAN tags, and the tag that goes
  /// beside them, if one was put on or changed; nil if the queue cannot make such a frame.
  ///
  /// It keeps one tag beside the frame, and can change or add that but not take it away.
  package func bridgedHeader(
    of frame: borrowing ClassifiedFrame
  ) -> (link: [14 of UInt8], tag: UInt32?)? {
    // A tag in the bytes would make the kernel's idea of the header's length another.
    let layout = frame.layout
    guard isRewritten, layout.tagCount == (frame.metadata.isTagBeside ? 1 : 0),
      replacedLength >= 14 + 4 * layout.tagCount
    else { return nil }
    let header = header()
    let new = FrameLayout(parsing: header)
    guard new.tagCount <= 1, new.tagCount >= layout.tagCount,
      headerLength - 4 * new.tagCount == replacedLength - 4 * layout.tagCount,
      header.byteCount >= 14 + 4 * new.tagCount
    else { return nil }
    // What else is in it stands in the payload, as a SNAP header does.
    for index in (14 + 4 * new.tagCount)..<header.byteCount
    where header.byte(at: index) != frame.bytes.byte(at: index - shift) { return nil }
    let type = 12 + 4 * new.tagCount
    var link: [14 of UInt8] = .init(repeating: 0)
    for index in 0..<12 { link[index] = header.byte(at: index) }
    for index in 0..<2 { link[12 + index] = header.byte(at: type + index) }
    return (link, new.tagCount == 1 ? header.bigEndian32(at: 12) : nil)
  }
}
