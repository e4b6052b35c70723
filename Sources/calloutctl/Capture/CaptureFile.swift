// SPDX-License-Identifier: Apache-2.0

internal import CalloutControl
internal import Foundation
internal import Kernel

/// A pcapng file that grows packet by packet; it can be read at any time.
struct CaptureFile: ~Copyable {
  private var file: GrowingFile
  private let snap: UInt32
  /// What is added to CLOCK_MONOTONIC to get nanoseconds since 1970.
  private let wallOffset: UInt64
  private var interfaces: [String: UInt32] = [:]
  /// Packets of each interface.
  private var written: [UInt64] = []

  /// Packets in the file.
  var count: UInt64 { written.reduce(0, +) }

  /// Begins the file at `path`; "-" is standard output.
  init(at path: String, snap: UInt32) throws(CaptureFileError) {
    file = try Self.open(path)
    self.snap = snap
    let wall = UInt64(Date().timeIntervalSince1970 * 1_000_000) * 1000
    wallOffset = wall &- MonotonicClock.now()
  }

  private static func open(_ path: String) throws(CaptureFileError) -> GrowingFile {
    do {
      var file = try GrowingFile(at: path)
      try file.append(Pcapng.section(program: "calloutctl \(calloutVersion)"))
      return file
    } catch {
      throw CaptureFileError(cause: error)
    }
  }

  private mutating func append(_ block: [UInt8]) throws(CaptureFileError) {
    do {
      try file.append(block)
    } catch {
      throw CaptureFileError(cause: error)
    }
  }

  /// Writes a packet with a comment for each of its contexts' lives.
  mutating func write(_ captured: CapturedLives) throws(CaptureFileError) {
    let packet = captured.packet
    let interface = try interface(named: packet.device)
    let bytes = Data(base64Encoded: packet.bytes) ?? Data()
    try append(
      Pcapng.packet(
        Pcapng.Packet(
          interface: interface, time: packet.time &+ wallOffset, bytes: Array(bytes),
          originalLength: packet.originalLength, comments: captured.lives.map(Timeline.text),
          isInbound: packet.isInbound,
          packetID: UInt64(packet.queue) << 32 | UInt64(packet.packetID),
          queue: UInt32(packet.queue), isAccepted: captured.isAccepted)))
    written[Int(interface)] += 1
  }

  /// Writes how many packets there are, and how many were lost.
  mutating func finish(lost: UInt64) throws(CaptureFileError) {
    let time = MonotonicClock.now() &+ wallOffset
    for (number, count) in written.enumerated() {
      // Lost packets are not told by their devices, so they stand with the first.
      try append(
        Pcapng.statistics(
          interface: UInt32(number), time: time, written: count, lost: number == 0 ? lost : 0))
    }
  }

  private mutating func interface(named name: String) throws(CaptureFileError) -> UInt32 {
    if let number = interfaces[name] { return number }
    let number = UInt32(written.count)
    try append(Pcapng.interface(name: name, snap: snap))
    interfaces[name] = number
    written.append(0)
    return number
  }
}

/// Why a packet is not in the file; the file holds what came before it.
struct CaptureFileError: Error, CustomStringConvertible {
  var cause: SystemError
  var description: String { "\(cause)" }
}

extension CapturedLives {
  /// Whether the packet was let through, by all that decided; nil where its contexts do not tell.
  var isAccepted: Bool? {
    let reasons = lives.compactMap(\.last.reason)
    if reasons.contains(where: Self.accepting.contains) { return true }
    return reasons.contains(where: Self.refusing.contains) ? false : nil
  }

  private static let accepting: Set = [
    "transmitted", "delivered", "released", "reassembled", "left_namespace",
  ]
  private static let refusing: Set = ["blocked", "dropped", "queue_flushed", "expired"]
}
