// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import CaptureFiles
import Foundation
import Testing

@testable import calloutd

struct GenerationTests {
  private func read(
    _ keys: String, layer: String = "outbound-mac-frame-ethernet"
  ) throws -> Generation? {
    let file = try PolicyFile.parse(
      """
      interfaces: [ eth0 ]
      callouts:
      - { name: g, type: generate, \(keys) }
      filters:
      - { name: f, layer: \(layer), action: callout-inspection, callout: g }
      """, path: "p")
    guard case .generate(let generation)? = file.callouts.first?.kind else { return nil }
    return generation
  }

  private func problem(_ keys: String, layer: String = "outbound-mac-frame-ethernet") -> String {
    do {
      _ = try read(keys, layer: layer)
      return ""
    } catch { return "\(error)" }
  }

  @Test func `a frame, how often and how many are read`() throws {
    let made = try read("interface: eth0, frames: 01 02:03-04, rate: 5/m, count: 7")
    #expect(
      made
        == Generation(
          interface: "eth0", frames: [CapturedFrame([1, 2, 3, 4])],
          rate: EventRate(5, per: .seconds(60)), count: 7))
    let plain = try read("interface: eth0, frames: '0102'")
    #expect(plain?.count == nil && plain?.rate == EventRate(1, per: .seconds(1)))
  }

  @Test(arguments: [
    ("interface: eth0", "3:3: error: the key \"frames\" is missing, expected a frame"),
    ("frames: 00", "the key \"interface\" is missing"),
    ("interface: eth0, frames: 0 00", "3:55: error: found half a byte at character 1"),
    ("interface: eth0, frames: zz", "3:55: error: found \"z\" at character 1"),
    ("interface: eth0, frames: []", "expected a frame in hexadecimal digits"),
    ("interface: eth0, frames: here.pcap", "3:55: error: found \"h\" at character 1"),
    ("interface: eth0, frames: /does/not/exist", "open /does/not/exist: No such file"),
    ("interface: eth0, frames: /dev/null", "the file is empty"),
    ("interface: eth0, frames: 00, rate: often", "expected a rate such as 10/s"),
    ("interface: eth0, frames: 00, count: 0", "expected none or a number from 1"),
    ("interface: eth1, frames: 00", "found a generator at eth1, expected one of interfaces"),
  ])
  func `what is wrong is told with its place`(keys: String, words: String) {
    #expect(problem(keys).contains(words), "\(problem(keys))")
  }

  @Test func `a generator stands at MAC layers only`() {
    let text = problem("interface: eth0, frames: 00", layer: "outbound-transport-v4")
    #expect(text.contains("found a callout of frames at outbound-transport-v4"))
  }

  @Test func `frames of a file are read`() throws {
    let path = "/tmp/callout-generation-\(UInt32.random(in: 0 ... .max)).pcap"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var file: [UInt8] = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0] + [UInt8](repeating: 0, count: 12)
    file += [1, 0, 0, 0]
    for byte in [1, 2] as [UInt8] {
      file += [UInt8](repeating: 0, count: 8) + [1, 0, 0, 0, 1, 0, 0, 0, byte]
    }
    try Data(file).write(to: URL(fileURLWithPath: path))
    let made = try read("interface: eth0, frames: \(path)")
    #expect(made?.frames.map(\.bytes) == [[1], [2]])
  }

  @Test func `frames come at their rate, and what is very late is not made up for`() {
    let begun = ContinuousClock.now
    var pace = FrameGenerator.Pace(begun: begun, interval: .milliseconds(10))
    func due(_ milliseconds: Int) -> Int {
      let due = pace.due(at: begun + .milliseconds(milliseconds), atMost: 16)
      pace.note(due)
      return due
    }
    #expect([0, 5, 10, 29, 30].map(due) == [1, 0, 1, 1, 1])
    #expect(pace.next == begun + .milliseconds(40))
    #expect(due(100) == 7)
    #expect(due(10_000) == 16)
    #expect(due(10_000) == 0)
    #expect(due(10_160) == 1)
  }
}
