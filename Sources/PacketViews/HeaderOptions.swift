// SPDX-License-Identifier: Apache-2.0

/// One option of an IPv4 or TCP header, borrowed from the packet.
public struct HeaderOption: ~Escapable {
  /// The option's kind (TCP) or type (IPv4), with the copied flag and class.
  public let kind: UInt8
  /// The option's value, without kind and length.
  public let value: RawSpan

  @inlinable
  @_lifetime(copy value)
  init(kind: UInt8, value: RawSpan) {
    self.kind = kind
    self.value = value
  }
}

/// A walk over the options of an IPv4 or TCP header, which have one encoding.
///
/// No-operations are skipped; the walk ends at the end-of-list option.
public struct HeaderOptions: ~Escapable {
  @usableFromInline let bytes: RawSpan
  @usableFromInline var offset = 0
  @usableFromInline var stoppedEarly = false

  /// Whether the walk stopped at an option whose length is impossible.
  @inlinable public var isMalformed: Bool { stoppedEarly }

  /// Starts at the first of the option bytes.
  @inlinable
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) { self.bytes = bytes }

  /// The next option, or nil at the end or at a malformed one.
  @inlinable
  @_lifetime(copy self)
  public mutating func next() -> HeaderOption? {
    while let kind = bytes.loadByte(at: offset), kind != 0 {
      if kind == 1 {
        offset &+= 1
        continue
      }
      let length = Int(bytes.byte(at: offset &+ 1))
      guard length >= 2, offset &+ length <= bytes.byteCount else {
        stoppedEarly = true
        offset = bytes.byteCount
        return nil
      }
      let value = bytes.slice(from: offset &+ 2, length: length &- 2)
      offset &+= length
      return HeaderOption(kind: kind, value: value)
    }
    return nil
  }
}
