// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct BlobMatchTests {
  private static let layer = Layer.aleAuthConnectV4

  /// The filters of a policy that match a packet of a program; nil where none is known.
  private func matching(_ matches: [[BlobMatch]], _ path: [UInt8]?) throws -> [Int] {
    let filters = matches.enumerated().map { number, matches in
      Filter(
        name: "\(number)", layer: Self.layer, sublayer: "\(number)",
        conditions: matches.map { Condition(.aleAppID, .blob($0)) }, action: .permit)
    }
    let policy = try CompiledPolicy(
      FilterPolicy(
        sublayers: filters.enumerated().map {
          Sublayer(name: $1.name, weight: UInt16(1000 - $0))
        }, filters: filters))
    let bytes = Make.ipv4(6)
    let span = bytes.span.packetBytes
    var metadata = PacketMetadata()
    metadata.program = path.map { policy.blobs.place(of: $0) }
    let packet = ClassifiedPacket(
      bytes: span, layout: try PacketLayout(parsing: span), layer: Self.layer, metadata: metadata,
      hook: .output)
    return policy.explain(packet).steps.map(\.filter)
  }

  /// What the match says of a string, byte by byte.
  private func accepts(_ match: BlobMatch, _ blob: [UInt8]) -> Bool {
    func isBefore(_ one: [UInt8], _ other: [UInt8]) -> Bool { one.lexicographicallyPrecedes(other) }
    return switch match {
    case .equal(let other): blob == other
    case .notEqual(let other): blob != other
    case .prefix(let other): blob.starts(with: other)
    case .notPrefix(let other): !blob.starts(with: other)
    case .greater(let other): isBefore(other, blob)
    case .less(let other): isBefore(blob, other)
    case .greaterOrEqual(let other): !isBefore(blob, other)
    case .lessOrEqual(let other): !isBefore(other, blob)
    case .range(let low, let high): !isBefore(blob, low) && !isBefore(high, blob)
    }
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `F63: strings of bytes match as byte by byte, however many are named`(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    // Few letters, so that many are beginnings of others; 255 has no letter behind it.
    func blob(_ random: inout SeededGenerator) -> [UInt8] {
      (0..<Int.random(in: 1...4, using: &random)).map { _ in
        [1, 97, 98, 255].randomElement(using: &random) ?? 97
      }
    }
    func match(_ random: inout SeededGenerator) -> BlobMatch {
      let (one, other) = (blob(&random), blob(&random))
      let isOrdered = !other.lexicographicallyPrecedes(one)
      let all: [BlobMatch] = [
        .equal(one), .notEqual(one), .prefix(one), .notPrefix(one), .greater(one), .less(one),
        .greaterOrEqual(one), .lessOrEqual(one),
        isOrdered ? .range(one, other) : .range(other, one),
      ]
      return all.randomElement(using: &random) ?? .equal(one)
    }
    let matches = (0..<(seed % 2 == 0 ? 40 : 5)).map { _ in
      (0..<Int.random(in: 1...3, using: &random)).map { _ in match(&random) }
    }
    for _ in 0..<100 {
      let path = blob(&random)
      let expected = matches.indices.filter { matches[$0].contains { accepts($0, path) } }
      #expect(try matching(matches, path) == expected, "\(path)")
    }
    #expect(try matching(matches, nil) == [])
  }

  @Test func `a path is given with its type, as in WFP`() throws {
    let curl = Array("/usr/bin/curl".utf8)
    let made = try Condition(.aleAppID, .equal, .byteBlob(curl), at: Self.layer)
    #expect(made == Condition(.aleAppID, equals: "/usr/bin/curl"))
    #expect(
      try Condition(.aleAppID, .prefix, .byteBlob(curl), at: Self.layer)
        == Condition(.aleAppID, beginsWith: "/usr/bin/curl"))
    #expect(ConditionValue.byteBlob(curl).dataType == FieldDataType.byteBlob.rawValue)
    #expect(throws: ConditionError.typeMismatch(expected: "a value of type byteBlob")) {
      try Condition(.aleAppID, .equal, .uint64(1), at: Self.layer)
    }
    #expect(throws: ConditionError.matchTypeMismatch(expected: "no flags")) {
      try Condition(.aleAppID, .flagsAllSet, .byteBlob(curl), at: Self.layer)
    }
    #expect(throws: ConditionError.self) {
      try Condition(.ipRemotePort, .equal, .byteBlob(curl), at: Self.layer)
    }
    #expect(throws: ConditionError.invalidRange) {
      try Condition(.aleAppID, .range, .range(.byteBlob([98]), .byteBlob([97])), at: Self.layer)
    }
    for blob in [[], [0], [UInt8](repeating: 97, count: 4097)] {
      #expect(throws: ConditionError.self) {
        try Condition(.aleAppID, .equal, .byteBlob(blob), at: Self.layer)
      }
    }
  }

  @Test(arguments: [
    Condition(.aleAppID, .equal(1)), Condition(.aleAppID, .prefix(IPPrefix("10.0.0.0/8")!)),
    Condition(.ipProtocol, .blob(.equal([97]))), Condition(.aleAppID, .blob(.equal([]))),
  ])
  func `conditions that mix paths with numbers are refused`(_ condition: Condition) throws {
    let filter = Filter(name: "f", layer: Self.layer, conditions: [condition], action: .block)
    #expect(throws: PolicyError.self) { try CompiledPolicy(FilterPolicy(filters: [filter])) }
  }

  @Test func `a policy asks for processes where a filter at work or its callout does`() throws {
    func asks(_ filters: [Filter], readsProcess: Bool = false) throws -> [Bool] {
      var callout = CalloutRegistration(name: "c") { Callout() }
      callout.readsProcess = readsProcess
      let policy = try CompiledPolicy(FilterPolicy(callouts: [callout], filters: filters))
      let all = [Hook.output, .input].flatMap { hook in
        [false, true].map { policy.asksForProcess(hook, isIPv6: $0) }
      }
      #expect(policy.asksForProcesses == all.contains(true))
      return all
    }
    let condition = Condition(.aleAppID, beginsWith: "/")
    let layers: [Layer] = [
      .aleAuthConnectV4, .aleAuthConnectV6, .aleAuthRecvAcceptV4, .aleAuthRecvAcceptV6,
    ]
    for (place, layer) in layers.enumerated() {
      let only = layers.indices.map { $0 == place }
      var filter = Filter(name: "f", layer: layer, conditions: [condition], action: .block)
      #expect(try asks([filter]) == only)
      filter.flags = .disabled
      #expect(try asks([filter]) == [false, false, false, false])
      let called = Filter(name: "g", layer: layer, action: .calloutUnknown("c"))
      #expect(try asks([called], readsProcess: true) == only)
      #expect(try asks([called]) == [false, false, false, false])
    }
    let elsewhere = Filter(
      name: "f", layer: .outboundTransportV4, action: .calloutUnknown("c"))
    #expect(try asks([elsewhere], readsProcess: true) == [false, false, false, false])
  }

  @Test func `only packets that a filter which asks may match are asked for`() throws {
    let program = Condition(.aleAppID, equals: "/bin/a")
    func filter(_ conditions: [Condition], _ layer: Layer = Self.layer) -> Filter {
      Filter(
        name: "\(layer) \(conditions.count)", layer: layer, conditions: conditions, action: .block)
    }
    func asked(_ filters: [Filter]) throws -> [Int] {
      let policy = try CompiledPolicy(FilterPolicy(filters: filters))
      return try [53, 80].filter { port in
        let bytes = Make.ipv4(6, target: port)
        let span = bytes.span.packetBytes
        let packet = ClassifiedPacket(
          bytes: span, layout: try PacketLayout(parsing: span), layer: .outboundTransportV4,
          metadata: PacketMetadata(), hook: .output)
        return policy.asksForProcess(of: packet, isReauthorization: false)
      }
    }
    func port(_ number: UInt128) -> Condition { Condition(.ipRemotePort, .equal(number)) }
    #expect(try asked([filter([program])]) == [53, 80])
    #expect(try asked([filter([port(53), program])]) == [53])
    #expect(try asked([filter([program, port(80), port(53)])]) == [53, 80])
    #expect(try asked([filter([port(53)])]) == [])
    #expect(try asked([filter([program], .aleAuthRecvAcceptV4)]) == [])
    let again = Condition(.flags, .flagsAllSet(ConditionFlags.reauthorize.rawValue))
    #expect(try asked([filter([program, again])]) == [])
    // Of very many not each is tried.
    let many = (1000..<1100).map { filter([program, port($0)]) }
    #expect(try asked(Array(many.prefix(64))) == [])
    #expect(try asked(many) == [53, 80])
  }
}
