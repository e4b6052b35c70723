// SPDX-License-Identifier: Apache-2.0

import CaptureFiles
import Testing

/// Writes capture files, whole or damaged.
struct CaptureWriter {
  var isBig = false
  var bytes: [UInt8] = []

  init(isBig: Bool = false) { self.isBig = isBig }

  mutating func put(_ value: some FixedWidthInteger) {
    let value = isBig ? value.bigEndian : value.littleEndian
    withUnsafeBytes(of: value) { bytes += $0 }
  }

  mutating func pcap(linkType: UInt32 = 1, nanoseconds: Bool = false, version: UInt16 = 2) {
    put(nanoseconds ? 0xa1b2_3c4d : 0xa1b2_c3d4 as UInt32)
    put(version)
    put(4 as UInt16)
    for value in [0, 0, 65535, linkType] as [UInt32] { put(value) }
  }

  mutating func record(_ frame: [UInt8], length: UInt32? = nil) {
    let count = UInt32(frame.count)
    for value in [1, 2, count, length ?? count] as [UInt32] { put(value) }
    bytes += frame
  }

  mutating func block(_ type: UInt32, _ fill: (inout CaptureWriter) -> Void) {
    var body = CaptureWriter(isBig: isBig)
    fill(&body)
    while body.bytes.count % 4 != 0 { body.bytes.append(0) }
    put(type)
    put(UInt32(body.bytes.count + 12))
    bytes += body.bytes
    put(UInt32(body.bytes.count + 12))
  }

  mutating func section() {
    block(0x0a0d_0d0a) {
      $0.put(0x1a2b_3c4d as UInt32)
      $0.put(1 as UInt16)
      $0.put(0 as UInt16)
      $0.put(UInt64.max)
    }
  }

  mutating func interface(_ linkType: UInt16 = 1, snap: UInt32 = 0, checksum: UInt8? = nil) {
    block(1) {
      $0.put(linkType)
      $0.put(0 as UInt16)
      $0.put(snap)
      guard let checksum else { return }
      for value in [2, 3] as [UInt16] { $0.put(value) }
      $0.bytes += [0x65, 0x74, 0x68, 0]
      for value in [13, 1] as [UInt16] { $0.put(value) }
      $0.bytes += [checksum, 0, 0, 0, 0, 0, 0, 0]
    }
  }

  mutating func packet(_ frame: [UInt8], interface: UInt32 = 0, length: UInt32? = nil) {
    block(6) {
      let count = UInt32(frame.count)
      for value in [interface, 0, 0, count, length ?? count] as [UInt32] { $0.put(value) }
      $0.bytes += frame
    }
  }

  mutating func simple(_ frame: [UInt8], length: UInt32? = nil) {
    block(3) {
      $0.put(length ?? UInt32(frame.count))
      $0.bytes += frame
    }
  }

  mutating func oldPacket(_ frame: [UInt8], interface: UInt16 = 0) {
    block(2) {
      for value in [interface, 0] as [UInt16] { $0.put(value) }
      for value in [0, 0, UInt32(frame.count), UInt32(frame.count)] as [UInt32] { $0.put(value) }
      $0.bytes += frame
    }
  }
}

struct CaptureReaderTests {
  private let one = Array(0..<61) as [UInt8]
  private let two = [UInt8](repeating: 7, count: 14)

  private func frames(_ bytes: [UInt8]) throws -> [CapturedFrame] {
    var reader = try CaptureReader(bytes)
    var frames: [CapturedFrame] = []
    while let frame = try reader.next() { frames.append(frame) }
    #expect(reader.count == frames.count)
    return frames
  }

  private func failure(_ bytes: [UInt8]) -> String {
    do {
      _ = try frames(bytes)
      return ""
    } catch { return "\(error)" }
  }

  @Test(arguments: [false, true], [false, true])
  func `a pcap file of any order and precision is read`(isBig: Bool, nanoseconds: Bool) throws {
    var file = CaptureWriter(isBig: isBig)
    file.pcap(nanoseconds: nanoseconds)
    file.record(one)
    file.record(two)
    #expect(
      try frames(file.bytes) == [
        CapturedFrame(one, form: .ethernet), CapturedFrame(two, form: .ethernet),
      ])
  }

  @Test(arguments: [false, true])
  func `a pcapng file of any order is read, all its blocks of packets`(isBig: Bool) throws {
    var file = CaptureWriter(isBig: isBig)
    file.section()
    file.interface(1)
    file.block(5) { $0.put(0 as UInt64) }
    file.interface(101)
    file.packet(one)
    file.packet(two, interface: 1)
    file.simple(two)
    file.oldPacket(one, interface: 1)
    #expect(
      try frames(file.bytes) == [
        CapturedFrame(one, form: .ethernet), CapturedFrame(two, form: .ip),
        CapturedFrame(two, form: .ethernet), CapturedFrame(one, form: .ip),
      ])
  }

  @Test func `sections of both orders may follow each other`() throws {
    var (file, other) = (CaptureWriter(), CaptureWriter(isBig: true))
    for isBig in [false, true] {
      var section = CaptureWriter(isBig: isBig)
      section.section()
      section.interface()
      section.packet(one)
      if isBig { other = section } else { file = section }
    }
    #expect(try frames(file.bytes + other.bytes).map(\.bytes) == [one, one])
    // Each section has interfaces of its own.
    var bare = CaptureWriter(isBig: true)
    bare.section()
    bare.packet(one)
    #expect(failure(file.bytes + bare.bytes).contains("an interface that is not described"))
  }

  @Test func `a frame's checksum at its end is left out`() throws {
    var file = CaptureWriter()
    file.pcap(linkType: 0x2400_0001)
    file.record(one)
    var other = CaptureWriter()
    other.section()
    other.interface(checksum: 4)
    other.packet(one)
    for bytes in [file.bytes, other.bytes] {
      #expect(try frames(bytes).map(\.bytes) == [one.dropLast(4)])
    }
  }

  @Test func `frames that were not captured whole are refused`() {
    var file = CaptureWriter()
    file.pcap()
    file.record(one)
    file.record(two, length: 1514)
    #expect(failure(file.bytes).contains("of frame 2 only 14 of 1514 bytes"))
    var other = CaptureWriter()
    other.section()
    other.interface(snap: 14)
    other.simple(two, length: 60)
    #expect(failure(other.bytes).contains("of frame 1 only 14 of 60 bytes"))
  }

  @Test func `frames of other link types are refused, those before are not`() throws {
    var file = CaptureWriter()
    file.section()
    file.interface()
    file.interface(127)
    file.packet(one)
    file.packet(one, interface: 1)
    #expect(failure(file.bytes).contains("frame 2 is of link type 127, expected Ethernet (1)"))
    var reader = try CaptureReader(file.bytes)
    #expect(try reader.next()?.bytes == one)
  }

  @Test func `what is no capture is told from it`() {
    #expect(failure([]).contains("the file is empty"))
    #expect(failure(Array("hello, world, this is text".utf8)).contains("neither a pcap nor"))
    #expect(failure([0x1f, 0x8b, 8, 0]).contains("gunzip"))
    #expect(failure([0x28, 0xb5, 0x2f, 0xfd]).contains("unzstd"))
    var old = CaptureWriter()
    old.pcap(version: 1)
    #expect(failure(old.bytes).contains("version 1, expected 2"))
    #expect(throws: CaptureReadError.self) { _ = try CaptureReader(at: "/does/not/exist") }
  }

  /// Two whole files, as a start for damaged ones.
  private var samples: [[UInt8]] {
    var (pcap, pcapng) = (CaptureWriter(), CaptureWriter(isBig: true))
    pcap.pcap()
    pcap.record(one)
    pcap.record(two)
    pcapng.section()
    pcapng.interface(checksum: 4)
    pcapng.packet(one)
    pcapng.simple(two)
    pcapng.oldPacket(two)
    return [pcap.bytes, pcapng.bytes]
  }

  @Test func `a file that was cut anywhere is told of, or ends after a whole frame`() throws {
    for sample in samples {
      let whole = try frames(sample)
      for length in 0..<sample.count {
        var reader: CaptureReader
        do { reader = try CaptureReader(Array(sample[..<length])) } catch { continue }
        var read: [CapturedFrame] = []
        while let frame = try? reader.next() { read.append(frame) }
        #expect(read == Array(whole.prefix(read.count)))
      }
      #expect(failure(sample.dropLast(1).map { $0 }).contains("ends inside"))
    }
  }

  @Test func `no damage makes a reader trap, or go on for ever`() {
    var chance = SystemRandomNumberGenerator()
    for sample in samples {
      for _ in 0..<20_000 {
        var bytes = sample
        for _ in 0..<Int.random(in: 1...6, using: &chance) {
          let value = [0, 1, 4, 0x7f, 0x80, 0xff, UInt8.random(in: .min ... .max, using: &chance)]
          bytes[Int.random(in: 0..<bytes.count, using: &chance)] = value.randomElement() ?? 0
        }
        guard var reader = try? CaptureReader(bytes) else { continue }
        while let frame = try? reader.next() { #expect(frame.bytes.count <= bytes.count) }
        #expect(reader.count <= bytes.count)
      }
    }
  }
}
