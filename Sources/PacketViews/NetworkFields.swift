// SPDX-License-Identifier: Apache-2.0

/// What `PacketLayout` keeps of the IP header and its extension headers.
@usableFromInline
struct NetworkFields: BitwiseCopyable, Sendable, Equatable {
  @usableFromInline var sourceHigh: UInt64 = 0
  @usableFromInline var sourceLow: UInt64 = 0
  @usableFromInline var destinationHigh: UInt64 = 0
  @usableFromInline var destinationLow: UInt64 = 0
  /// 0 = not known: a jumbo packet.
  @usableFromInline var totalLength: UInt32 = 0
  @usableFromInline var capturedLength: UInt32 = 0
  @usableFromInline var identification: UInt32 = 0
  @usableFromInline var fragmentOffset: UInt16 = 0
  /// Where the header behind the IP header and the extension headers begins.
  @usableFromInline var dataOffset: UInt16 = 0
  @usableFromInline var version = IPVersion.v4
  @usableFromInline var headerLength: UInt8 = 0
  @usableFromInline var protocolNumber: UInt8 = 0
  @usableFromInline var timeToLive: UInt8 = 0
  @usableFromInline var trafficClass: UInt8 = 0
  @usableFromInline var moreFragments = false

  /// Where the packet ends by its own account, `Int.max` when it does not say.
  @inlinable
  var end: Int { totalLength == 0 ? .max : Int(totalLength) }

  /// Fields with nothing read.
  @inlinable
  init() {}

  /// Takes in the headers at the start of `bytes`.
  @inline(__always)
  mutating func read(_ bytes: RawSpan) throws(MalformedPacket) {
    guard let first = bytes.loadByte(at: 0) else { throw .truncated(needed: 20) }
    switch first >> 4 {
    case 4: try read(v4: bytes)
    case 6: try read(v6: bytes)
    default: throw .badVersion(first >> 4)
    }
  }

  @inline(__always)
  private mutating func read(v4 bytes: RawSpan) throws(MalformedPacket) {
    guard bytes.byteCount >= 20 else { throw .truncated(needed: 20) }
    version = .v4
    let start = bytes.bigEndian32(at: 0)
    let header = Int(start >> 24 & 0xf) &* 4
    guard header >= 20 else { throw .badHeaderLength(header) }
    let fragment = bytes.bigEndian16(at: 6)
    protocolNumber = bytes.byte(at: 9)
    totalLength = start & 0xffff
    // The kernel hands over TCP segments above 64 KiB (BIG TCP) with a total length of 0.
    let isBig = totalLength == 0 && protocolNumber == 6 && fragment & 0x3fff == 0
    guard Int(totalLength) >= header || isBig else { throw .badTotalLength(Int(totalLength)) }
    guard bytes.byteCount >= header else { throw .truncated(needed: header) }
    headerLength = UInt8(truncatingIfNeeded: header)
    dataOffset = UInt16(truncatingIfNeeded: header)
    trafficClass = UInt8(truncatingIfNeeded: start >> 16)
    identification = UInt32(bytes.bigEndian16(at: 4))
    fragmentOffset = (fragment & 0x1fff) &* 8
    moreFragments = fragment & 0x2000 != 0
    timeToLive = bytes.byte(at: 8)
    sourceLow = UInt64(bytes.bigEndian32(at: 12))
    destinationLow = UInt64(bytes.bigEndian32(at: 16))
    capturedLength = UInt32(truncatingIfNeeded: Swift.min(bytes.byteCount, end))
  }

  @inline(never)
  private mutating func read(v6 bytes: RawSpan) throws(MalformedPacket) {
    guard bytes.byteCount >= 40 else { throw .truncated(needed: 40) }
    version = .v6
    headerLength = 40
    trafficClass = UInt8(truncatingIfNeeded: bytes.bigEndian16(at: 0) >> 4)
    timeToLive = bytes.byte(at: 7)
    sourceHigh = bytes.bigEndian64(at: 8)
    sourceLow = bytes.bigEndian64(at: 16)
    destinationHigh = bytes.bigEndian64(at: 24)
    destinationLow = bytes.bigEndian64(at: 32)
    // Jumbograms carry 0 and a hop-by-hop header, BIG TCP segments of newer kernels only the 0.
    let header = try IPv6Header(bytes)
    totalLength = header.isLengthUnknown ? 0 : UInt32(header.payloadLength) &+ 40
    var walk = header.extensionHeaders
    while let _ = try walk.next() {}
    protocolNumber = walk.protocolNumber.rawValue
    // At most 16 headers of at most 2048 bytes: fits.
    dataOffset = UInt16(truncatingIfNeeded: walk.offset)
    identification = walk.fragmentIdentification ?? 0
    fragmentOffset = UInt16(truncatingIfNeeded: walk.fragmentOffset)
    moreFragments = walk.moreFragments
    capturedLength = UInt32(truncatingIfNeeded: Swift.min(bytes.byteCount, end))
  }
}
