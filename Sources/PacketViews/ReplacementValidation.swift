// SPDX-License-Identifier: Apache-2.0

/// Checks that the kernel will take `replacement` as the new payload of a queued packet.
///
/// Mirrors what kernels enforce since 2026, and what older ones take on trust: lengths agree, and
/// the parts of the IP header that say how to read the packet are unchanged. Says nothing of
/// checksums. `original` may be cut behind its IP headers.
///
/// Corresponds to `NFQA_PAYLOAD` in a verdict.
public func validateReplacement(
  original: RawSpan, replacement: RawSpan
) throws(RewriteError) {
  let version = original.byte(at: 0) >> 4
  guard let first = replacement.loadByte(at: 0) else {
    throw .malformed(.truncated(needed: version == 6 ? 40 : 20))
  }
  guard first >> 4 == version else { throw .wrongVersion }
  if version == 6 {
    try validateV6(original: original, replacement: replacement)
  } else {
    try validateV4(original: original, replacement: replacement)
  }
}

private func validateV4(original: RawSpan, replacement: RawSpan) throws(RewriteError) {
  guard original.byte(at: 0) == replacement.byte(at: 0) else { throw .headerLengthChanged }
  let old: IPv4Header
  let new: IPv4Header
  do throws(MalformedPacket) {
    old = try IPv4Header(original)
    new = try IPv4Header(replacement)
  } catch {
    throw .malformed(error)
  }
  guard new.optionBytes.isEqual(to: old.optionBytes) else { throw .optionsChanged }
  guard new.totalLength == replacement.byteCount else {
    throw .lengthMismatch(declared: new.totalLength, actual: replacement.byteCount)
  }
  // All but the don't-fragment flag.
  guard (new.fragmentField ^ old.fragmentField) & 0xbfff == 0 else { throw .fragmentFieldChanged }
}

private func validateV6(original: RawSpan, replacement: RawSpan) throws(RewriteError) {
  let old: IPv6Header
  let new: IPv6Header
  let chain: Int
  do throws(MalformedPacket) {
    old = try IPv6Header(original)
    new = try IPv6Header(replacement)
    var walk = old.extensionHeaders
    while let _ = try walk.next() {}
    chain = walk.offset &- 40
  } catch {
    throw .malformed(error)
  }
  guard new.payloadLength &+ 40 == replacement.byteCount else {
    throw .lengthMismatch(declared: new.payloadLength &+ 40, actual: replacement.byteCount)
  }
  guard new.nextHeader == old.nextHeader else { throw .nextHeaderChanged }
  let oldChain = original.slice(from: 40, length: chain)
  guard replacement.slice(from: 40, length: chain).isEqual(to: oldChain) else {
    throw .extensionHeadersChanged
  }
}
