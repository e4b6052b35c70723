// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import Foundation
import PacketTagging
import PacketViews
import Testing

@testable import CalloutBridge

@Suite struct ObjectStoreTests {
  private let folder = NSTemporaryDirectory() + "callout-\(UUID().uuidString)"
  private var path: String { folder + "/objects" }

  private func inFolder(_ body: () throws -> Void) throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body()
  }

  /// One of everything that can be kept.
  private static func everything() throws -> PersistentObjects {
    var kept = PersistentObjects()
    kept.providers = [
      Provider(name: "p \u{e9}\"\n", key: .random(), purpose: "tests", isPersistent: true)
    ]
    kept.sublayers = [
      Sublayer(name: "s", key: .random(), weight: 65535, provider: "p", isPersistent: true)
    ]
    kept.callouts = [AddedCallout(name: "c", key: .random(), isPersistent: true)]
    kept.providerContexts = [
      ProviderContext(name: "x", key: .random(), data: [0, 0x0f, 0xff], isPersistent: true)
    ]
    let prefixes = try [
      #require(IPPrefix("10.0.0.0/8")), #require(IPPrefix("fe80::/10")),
    ]
    let matches: [Condition.Match] = [
      .equal(.max), .notEqual(0), .greater(1), .less(2), .greaterOrEqual(3), .lessOrEqual(4),
      .range(5, .max), .prefix(prefixes[0]), .notPrefix(prefixes[1]), .masked(6, mask: 7),
      .flagsAllSet(8), .flagsAnySet(.max), .flagsNoneSet(9),
      .blob(.equal([0x2f])), .blob(.notEqual([])), .blob(.prefix([0, 0xff])),
      .blob(.notPrefix([1])), .blob(.greater([2])), .blob(.less([3])),
      .blob(.greaterOrEqual([4])), .blob(.lessOrEqual([5])), .blob(.range([6], [7])),
    ]
    let actions: [FilterAction] = [
      .permit, .block, .calloutTerminating("c"), .calloutInspection("c"), .calloutUnknown("c"),
    ]
    let weights: [FilterWeight] = [.automatic, .explicit(.max), .range(15)]
    let contexts: [FilterContext] = [.none, .raw(.max), .provider("x")]
    for (number, action) in actions.enumerated() {
      kept.filters.append(
        Filter(
          name: "f\(number)", key: .random(), layer: Layer.allCases[number * 7], sublayer: "s",
          weight: weights[number % 3],
          conditions: zip(Field.allCases.dropFirst(number * 9), matches).map { Condition($0, $1) },
          action: action, provider: number == 0 ? "p" : nil,
          flags: number == 1
            ? FilterFlags(FilterFlags.names.map(\.flag)).subtracting(.bootTime) : .persistent,
          context: contexts[number % 3]))
    }
    return kept
  }

  @Test func `everything comes back as it was kept`() throws {
    try inFolder {
      let kept = try Self.everything()
      do {
        let store = try ObjectStore(at: path)
        #expect(try store.read() == PersistentObjects())
        try store.write(kept)
        try store.publish(insteadOf: PersistentObjects())
      }
      #expect(try ObjectStore(at: path).read() == kept)
      let text = try String(contentsOfFile: path, encoding: .utf8)
      #expect(text.contains("\"outbound") || text.contains("\"inbound"))
    }
  }

  /// What reading a store that holds this text throws.
  private func refusal(_ text: String) throws -> ObjectStoreError? {
    let store = try ObjectStore(at: path)
    let isMade = FileManager.default.createFile(
      atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
    #expect(isMade)
    do {
      _ = try store.read()
      return nil
    } catch BridgeError.objectStore(let error) {
      return error
    }
  }

  @Test func `a file that is damaged in any place is told, and nothing of it is taken`() throws {
    try inFolder {
      do {
        let store = try ObjectStore(at: path)
        try store.write(Self.everything())
        try store.publish(insteadOf: PersistentObjects())
      }
      let text = try String(contentsOfFile: path, encoding: .utf8)
      var damaged = [
        "", "{", "[]", "null", "7", String(text.dropLast(3)),
        text.replacing("callout-objects", with: "others"),
        text.replacing("\"block\"", with: "\"blockade\""),
        text.replacing("\"masked\"", with: "\"equal\""),
        text.replacing("\"persistent\"", with: "\"disabled\""),
        text.replacing("\"000fff\"", with: "\"000ff\""),
        text.replacing("\"000fff\"", with: "\"000f+f\""),
        text.replacing("\"10.0.0.0/8\"", with: "\"10.0.0.0/80\""),
        text.replacing("\"ip-protocol\"", with: "\"protocol\""),
        text.replacing("\"explicit\"", with: "\"range\""),
        text.replacing("65535", with: "65536"),
        text.replacing("\"340282366920938463463374607431768211455\"", with: "\"-1\""),
        text.replacing("\"key\" : \"", with: "\"key\" : \"0"),
        "{\"format\": \"callout-objects\", \"version\": 1}",
        String(repeating: "[", count: 100_000),
      ]
      for length in stride(from: 0, to: text.utf8.count - 2, by: 37) {
        damaged.append(String(text.prefix(length)))
      }
      for (number, text) in damaged.enumerated() {
        guard case .damaged? = try refusal(text) else {
          Issue.record("\(number): \(text.prefix(60))")
          continue
        }
      }
      let newer = text.replacing("\"version\" : 1", with: "\"version\" : 2")
      guard case .otherVersion(_, 2, 1)? = try refusal(newer) else {
        Issue.record("another version is taken")
        return
      }
      #expect(try refusal(text) == nil)
    }
  }

  @Test func `what cannot be written is told, and what was kept stays`() throws {
    try inFolder {
      let store = try ObjectStore(at: path)
      let kept = try Self.everything()
      try store.write(kept)
      try store.publish(insteadOf: PersistentObjects())
      // Not even root makes a file of a folder that is not empty.
      try FileManager.default.createDirectory(
        atPath: path + ".new/full", withIntermediateDirectories: true)
      do {
        try store.write(PersistentObjects())
        Issue.record("written over a folder")
      } catch BridgeError.objectStore(let error) {
        #expect(error.status == .transactionAborted, "\(error)")
      }
      #expect(try store.read() == kept)
    }
  }

  @Test func `another process' store is not taken`() throws {
    try inFolder {
      let store = try ObjectStore(at: path)
      do {
        _ = try ObjectStore(at: path)
        Issue.record("taken twice")
      } catch BridgeError.objectStore(.inUse(let path)) {
        #expect(path == self.path)
      }
      _ = try store.read()
    }
  }
}
