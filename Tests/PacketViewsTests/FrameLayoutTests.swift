// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

/// Ethernet frames by hand.
enum Frames {
  static let two: [UInt8] = [2, 0, 0, 0, 0, 2]
  static let one: [UInt8] = [2, 0, 0, 0, 0, 1]

  static func ethernet(
    to: [UInt8] = two, from: [UInt8] = one, tags: [UInt32] = [], type: UInt16 = 0x0800,
    _ payload: [UInt8] = Captures.udp4
  ) -> [UInt8] {
    let middle = tags.flatMap { tag in
      (0..<4).map { UInt8(truncatingIfNeeded: tag >> (24 - 8 * $0)) }
    }
    return to + from + middle + [UInt8(type >> 8), UInt8(type & 0xff)] + payload
  }
}

func frameLayout(_ bytes: [UInt8]) -> FrameLayout { FrameLayout(parsing: bytes.span.packetBytes) }

struct FrameLayoutTests {
  @Test func `a plain frame is read`() {
    let found = frameLayout(Frames.ethernet())
    #expect(found.destination.description == "02:00:00:00:00:02")
    #expect(found.source.description == "02:00:00:00:00:01")
    #expect(found.etherType == .ipv4 && found.format == .ethernetII)
    #expect(found.headerLength == 14 && found.networkOffset == 14)
    #expect(found.tagCount == 0 && found.outerTag == nil && found.tagControl == 0)
    #expect(found.isWellFormed && found.hasAddresses && found.declaredLength == nil)
  }

  @Test func `addresses have classes`() {
    for (text, expected) in [
      ("ff:ff:ff:ff:ff:ff", .broadcast), ("01:00:5e:00:00:01", .multicast),
      ("33:33:00:00:00:01", .multicast), ("02:00:00:00:00:01", .unicast),
      ("00:00:00:00:00:00", .unicast),
    ] as [(String, MACAddressClass)] {
      #expect(MACAddress(text)?.addressClass == expected)
    }
    #expect([MACAddressClass.unicast, .multicast, .broadcast].map(\.rawValue) == [0, 1, 2])
  }

  @Test func `the outermost tag counts, whole, and the inner one is kept`() {
    let found = frameLayout(Frames.ethernet(tags: [0x88a8_a064, 0x8100_1002, 0x8100_0003]))
    #expect(found.tagControl == 0xa064)
    #expect(found.outerTag == VLANTag(.serviceVLAN, control: 0xa064))
    #expect(found.innerTag?.control == 0x1002 && found.innerTag?.isDropEligible == true)
    #expect(found.tagCount == 3 && found.headerLength == 26 && found.etherType == .ipv4)
  }

  @Test func `eight tags are read and nine are malformed`() {
    for count in 0...12 {
      let found = frameLayout(
        Frames.ethernet(tags: [UInt32](repeating: 0x8100_0001, count: count)))
      #expect(found.tagCount == min(count, 8))
      #expect(found.malformation == (count > 8 ? .tooManyTags : nil))
      #expect(found.headerLength == 14 + 4 * min(count, 8))
    }
  }

  @Test func `lengths, LLC and SNAP are told apart`() {
    let llc = frameLayout(
      Frames.ethernet(type: 38, [0x42, 0x42, 3] + [UInt8](repeating: 0, count: 43)))
    #expect(llc.format == .llc && llc.declaredLength == 38 && llc.etherType.rawValue == 38)
    #expect(llc.networkOffset == 14 && llc.isWellFormed)
    for (organisation, isKnown) in [
      ([0, 0, 0], true), ([0, 0, 0xf8], true), ([0, 0, 12], false),
    ]
      as [([UInt8], Bool)]
    {
      let payload = [0xaa, 0xaa, 3] + organisation + [8, 0] + Captures.udp4
      let snap = frameLayout(Frames.ethernet(type: UInt16(payload.count), payload + [0, 0]))
      #expect(snap.format == (isKnown ? .snap : .llc))
      #expect(snap.etherType.rawValue == (isKnown ? 0x0800 : UInt16(payload.count)))
      #expect(snap.networkOffset == (isKnown ? 22 : 14) && snap.headerLength == 14)
    }
  }

  @Test func `padding behind a declared length is not the network's`() {
    let payload: [UInt8] = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0] + Captures.udp4
    let bytes = Frames.ethernet(type: UInt16(payload.count), payload + [1, 2, 3])
    let found = frameLayout(bytes)
    let count = found.network(in: bytes.span.packetBytes).byteCount
    #expect(count == Captures.udp4.count)
  }

  @Test func `what is malformed is told with its reason`() {
    let whole = Frames.ethernet()
    let tagged = Frames.ethernet(tags: [0x8100_0064])
    for (bytes, expected) in [
      ([], .headerCut), (Array(whole[..<13]), .headerCut), (whole, nil),
      (Array(whole[..<33]), .networkHeaderCut), (Array(whole[..<34]), nil),
      (Array(tagged[..<14]), .tagCut), (Array(tagged[..<17]), .tagCut),
      (Array(tagged[..<18]), .networkHeaderCut), (tagged, nil),
      (Frames.ethernet(type: 1501), .undefinedType), (Frames.ethernet(type: 1535), .undefinedType),
      (Frames.ethernet(type: 1536), nil), (Frames.ethernet(type: 1500), .lengthPastEnd),
      (Frames.ethernet(type: 2), .llcCut), (Frames.ethernet(type: 0), .llcCut),
      (Frames.ethernet(type: 0x0806, [0, 1, 8, 0]), .networkHeaderCut),
      (Frames.ethernet(type: 0x86dd, [UInt8](repeating: 0x60, count: 39)), .networkHeaderCut),
    ] as [([UInt8], FrameMalformation?)] {
      #expect(frameLayout(bytes).malformation == expected, "\(bytes)")
    }
    #expect(frameLayout(Array(whole[..<13])).hasAddresses == false)
    #expect(Set(FrameMalformation.allCases.map(\.description)).count == 8)
  }

  @Test func `a runt is short, not malformed`() {
    let bytes = Frames.ethernet(type: 0x88b5, [1, 2])
    #expect(frameLayout(bytes).isRunt && frameLayout(bytes).isWellFormed)
    #expect(frameLayout(bytes + [UInt8](repeating: 0, count: 43)).isRunt)
    #expect(!frameLayout(bytes + [UInt8](repeating: 0, count: 44)).isRunt)
  }

  @Test func `a device without MAC headers has none`() {
    for (bytes, type, problem) in [
      (Captures.udp4, .ipv4, nil), (Captures.udp6, .ipv6, nil),
      (Array(Captures.udp4[..<19]), .ipv4, .networkHeaderCut),
      ([0x10], EtherType(rawValue: 0), .badVersion), ([], EtherType(rawValue: 0), .headerCut),
    ] as [([UInt8], EtherType, FrameMalformation?)] {
      let found = FrameLayout(parsingRawIP: bytes.span.packetBytes)
      #expect(found.etherType == type && found.malformation == problem)
      #expect(!found.hasAddresses && found.headerLength == 0 && found.networkOffset == 0)
      #expect(!found.isRunt)
    }
  }

  @Test func `the flow of a frame is that of its packet`() throws {
    let plain = Frames.ethernet()
    let tagged = Frames.ethernet(tags: [0x8100_0064])
    let expected = try layout(Captures.udp4).flowHash
    for bytes in [plain, tagged] {
      #expect(frameLayout(bytes).flowHash(in: bytes.span.packetBytes) == expected)
    }
    let other = Frames.ethernet(type: 0x88b5)
    let turned = Frames.ethernet(to: Frames.one, from: Frames.two, type: 0x88b5)
    let hashes = [other, turned].map { frameLayout($0).flowHash(in: $0.span.packetBytes) }
    #expect(hashes[0] != hashes[1])
  }

  @Test func `the layout agrees with the header view on every cut`() {
    for bytes in [
      Frames.ethernet(), Frames.ethernet(tags: [0x88a8_0001, 0x8100_0002]),
      Frames.ethernet(tags: [UInt32](repeating: 0x9100_0001, count: 9)),
    ] {
      for count in 0...bytes.count {
        let cut = bytes.span.packetBytes.slice(from: 0, length: count)
        let found = FrameLayout(parsing: cut)
        guard let header = try? EthernetHeader(cut) else {
          let isExpected =
            [.headerCut, .tagCut, .tooManyTags].contains(found.malformation)
          #expect(isExpected, "\(count)")
          continue
        }
        let (tags, length, type) = (header.tagCount, header.headerLength, header.etherType)
        #expect(found.tagCount == tags && found.headerLength == length && found.etherType == type)
      }
    }
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `no bytes trap and no offset leaves the frame`(seed: UInt64) {
    var random = SeededGenerator(state: seed)
    let seeds: [UInt16] = [0x8100, 0x88a8, 0x9100, 0x0800, 0x86dd, 0x0806, 0, 3, 8, 60, 1500, 1520]
    for _ in 0..<20_000 {
      let count = Int.random(in: 0...80, using: &random)
      var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      for place in stride(from: 12, to: count - 1, by: 4) {
        guard Bool.random(using: &random), let type = seeds.randomElement(using: &random) else {
          break
        }
        bytes[place] = UInt8(type >> 8)
        bytes[place + 1] = UInt8(type & 0xff)
      }
      let span = bytes.span.packetBytes
      for found in [FrameLayout(parsing: span), FrameLayout(parsingRawIP: span)] {
        #expect(found.networkOffset <= count && found.headerLength <= found.networkOffset)
        #expect(found.capturedLength == count && found.tagCount <= 8)
        #expect(found.network(in: span).byteCount <= count)
        _ = found.flowHash(in: span)
      }
    }
  }
}
