// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

/// The packets of an element as iptables can say them.
///
/// What no match is made for is read by `u32`.
struct IPTablesMatch {
  /// What many elements can have alike.
  struct Test: Hashable {
    /// Words of a rule, as iptables-save has them.
    var words: [String]
    /// The type of the set that the rule asks behind them; nil for none.
    var kind: IPSetKind?
    /// What of the packet the set is asked for, in ipset's words.
    var directions: [String] = []
  }

  private(set) var test = Test(words: [])
  /// Entries of the set.
  private(set) var entries: [IPSetEntry] = []
  /// The word of the transport header that must be there, by protocol.
  private(set) var transportWords: [UInt8: UInt32] = [:]
  /// The first word behind the IP header must be there.
  private(set) var readsTransport = false

  /// The most ports of an element that become entries of a set.
  private static let mostPorts: UInt128 = 64
  private static let mostEntries = 512
  /// The last word that ipset reads of each transport header whose ports it knows.
  private static let lastWords: [UInt8: UInt32] = [6: 16, 17: 4, 132: 8, 136: 4]

  private var ranges: [KernelField: ClosedRange<UInt128>]
  private let family: Families

  /// Nil if no packet is meant.
  init?(_ element: KernelElement, _ fields: [KernelField], _ family: Families, at hook: RuleHook) {
    self.family = family
    ranges = Dictionary(zip(fields, element.ranges)) { first, _ in first }
    var devices: [String] = []
    for (field, option) in [(KernelField.inputDevice, "-i"), (.outputDevice, "-o")] {
      guard let range = ranges.removeValue(forKey: field) else { continue }
      switch DeviceTest(range, field, at: hook) {
      case .never: return nil
      case .always, .unsayable: break
      case .isLoopback: devices += [option, "lo"]
      case .isNotLoopback: devices += ["!", option, "lo"]
      }
    }
    ranges = ranges.filter { $0.value != 0...$0.key.largestValue(family) }
    chooseSet()
    let addresses = guardWords
    test.words = addresses.plain + devices + portWords + addresses.matches + headerWords
  }

  // MARK: Sets

  /// Moves what a set can hold from the ranges to its entries.
  private mutating func chooseSet() {
    let addresses = [KernelField.destinationAddress, .sourceAddress].filter { ranges[$0] != nil }
    guard let port = portForSet(hasAddress: !addresses.isEmpty) else {
      if let address = addresses.first { take(.network, [address], [parts(address)]) }
      return
    }
    let ports = ports(port.field, port.number)
    guard let address = addresses.first else {
      return take(.port, [port.field], [ports.map(\.withoutProtocol)])
    }
    if let host = addresses.first(where: isHost),
      let other = addresses.first(where: { $0 != host }),
      parts(other).count * ports.count <= Self.mostEntries
    {
      take(.hostPortNetwork, [host, port.field, other], [parts(host), ports, parts(other)])
    } else if parts(address).count * ports.count <= Self.mostEntries {
      take(.networkPort, [address, port.field], [parts(address), ports])
    } else {
      take(.network, [address], [parts(address)])
    }
  }

  private mutating func take(
    _ kind: IPSetKind, _ fields: [KernelField], _ parts: [[IPSetEntry.Part]]
  ) {
    test.kind = kind
    test.directions = fields.map {
      $0 == .sourceAddress || $0 == .sourcePort ? "src" : "dst"
    }
    entries = parts.reduce([IPSetEntry(parts: [])]) { entries, each in
      entries.flatMap { entry in each.map { IPSetEntry(parts: entry.parts + [$0]) } }
    }
    for field in fields { ranges[field] = nil }
    guard kind != .network, let number = exactProtocol else { return }
    transportWords[number] = Self.lastWords[number]
    // Of the protocol a set of ports knows nothing.
    if kind != .port { ranges[.transportProtocol] = nil }
  }

  private var exactProtocol: UInt8? {
    guard let range = ranges[.transportProtocol], range.lowerBound == range.upperBound else {
      return nil
    }
    return UInt8(truncatingIfNeeded: range.lowerBound)
  }

  /// The port that a set can hold.
  private func portForSet(hasAddress: Bool) -> (field: KernelField, number: UInt8)? {
    guard let number = exactProtocol, Self.lastWords[number] != nil,
      hasAddress || number == 6 || number == 17,
      let field = [KernelField.destinationPort, .sourcePort].first(where: { field in
        ranges[field].map { $0.upperBound - $0.lowerBound < Self.mostPorts } ?? false
      })
    else { return nil }
    return (field, number)
  }

  private func ports(_ field: KernelField, _ number: UInt8) -> [IPSetEntry.Part] {
    ranges[field].map { range in
      stride(from: range.lowerBound, through: range.upperBound, by: 1).map {
        .transport(number: number, port: UInt16(truncatingIfNeeded: $0))
      }
    } ?? []
  }

  private func parts(_ field: KernelField) -> [IPSetEntry.Part] {
    ranges[field].map { IPPrefix.covering($0, family).map { .prefix($0) } } ?? []
  }

  private func isHost(_ field: KernelField) -> Bool {
    ranges[field].map { $0.lowerBound == $0.upperBound } ?? false
  }

  // MARK: Words

  /// The addresses that are in no set.
  private var guardWords: (plain: [String], matches: [String]) {
    var (plain, matches): ([String], [String]) = ([], [])
    for (field, option, name) in [
      (KernelField.sourceAddress, "-s", "--src-range"),
      (.destinationAddress, "-d", "--dst-range"),
    ] {
      guard let range = ranges[field] else { continue }
      let prefixes = IPPrefix.covering(range, family)
      if let prefix = prefixes.first, prefixes.count == 1 {
        plain += [option, prefix.description]
      } else {
        let (low, high) = (
          IPAddress(range.lowerBound, family), IPAddress(range.upperBound, family)
        )
        matches += ["-m", "iprange", name, "\(low)-\(high)"]
      }
    }
    return (plain, matches)
  }

  /// TCP or UDP and their ports, by the matches that are made for them.
  ///
  /// They drop packets whose header is cut short, so these must be queued before.
  private var portWords: [String] {
    mutating get {
      guard let number = exactProtocol, number == 6 || number == 17 else { return [] }
      let name = number == 6 ? "tcp" : "udp"
      ranges[.transportProtocol] = nil
      var ports: [String] = []
      for (field, option) in [(KernelField.sourcePort, "--sport"), (.destinationPort, "--dport")] {
        guard let range = ranges.removeValue(forKey: field) else { continue }
        let (low, high) = (range.lowerBound, range.upperBound)
        ports += [option, low == high ? "\(low)" : "\(low):\(high)"]
      }
      guard !ports.isEmpty else { return ["-p", name] }
      transportWords[number] = Self.lastWords[number]
      return ["-p", name, "-m", name] + ports
    }
  }

  /// The other header fields.
  private var headerWords: [String] {
    mutating get {
      var tests: [String] = []
      for (field, range) in ranges.sorted(by: { $0.key < $1.key }) {
        guard let place = U32.place(field, family) else { continue }
        if field.isOfTransport { readsTransport = true }
        tests.append(U32.test(place, [range]))
      }
      return tests.isEmpty ? [] : U32.words(tests)
    }
  }
}

/// What a range of device numbers means at a hook: iptables knows devices by name alone.
enum DeviceTest {
  case always, never, isLoopback, isNotLoopback
  /// Only a device's name could say it, and names change.
  case unsayable

  init(_ range: ClosedRange<UInt128>, _ field: KernelField, at hook: RuleHook) {
    let all = 0...field.largestValue(.ipv4)
    let hasDevice =
      switch hook {
      case .prerouting, .input: field == .inputDevice
      case .forward: true
      case .output, .postrouting: field == .outputDevice
      }
    guard range != all else {
      self = .always
      return
    }
    guard hasDevice else {
      self = .unsayable
      return
    }
    switch (max(range.lowerBound, 1), range.upperBound) {
    case (_, 0): self = .never
    case (1, all.upperBound): self = .always
    case (1, 1): self = .isLoopback
    case (2, all.upperBound): self = .isNotLoopback
    default: self = .unsayable
    }
  }
}

/// The match `u32`: words of the packet, behind shifts and masks, in ranges.
enum U32 {
  /// The most ranges of one test.
  static let mostRanges = 10
  /// The bits of an IPv4 header that fragments have.
  static let isFragment = words([test("0x4&0x3fff", [1...0x3fff])])

  /// Where a field is, as iptables-save writes it; nil for what is in no header.
  static func place(_ field: KernelField, _ family: Families) -> String? {
    let transport = transport(family, 0)
    return switch field {
    case .transportProtocol: family == .ipv6 ? "0x4>>0x8&0xff" : "0x8>>0x10&0xff"
    case .nextHeader: "0x4>>0x8&0xff"
    case .sourcePort: transport + ">>0x10"
    case .destinationPort: transport + "&0xffff"
    case .icmpType: transport + ">>0x18"
    case .icmpCode: transport + ">>0x10&0xff"
    case .sourceAddress, .destinationAddress, .inputDevice, .outputDevice: nil
    }
  }

  /// A word of the transport header; an IPv6 packet must have no extension header.
  private static func transport(_ family: Families, _ offset: UInt32) -> String {
    family == .ipv6 ? hexadecimal(40 + offset) : "0x0>>0x16&0x3c@" + hexadecimal(offset)
  }

  /// A place and what is to be there.
  static func test(_ place: String, _ ranges: [ClosedRange<UInt128>]) -> String {
    let values = ranges.map { range in
      let low = "0x" + String(range.lowerBound, radix: 16)
      return range.lowerBound == range.upperBound
        ? low : "\(low):0x\(String(range.upperBound, radix: 16))"
    }
    return "\(place)=\(values.joined(separator: ","))"
  }

  /// The words of a rule that ask for all of these tests.
  static func words(_ tests: [String]) -> [String] {
    ["-m", "u32", "--u32", tests.joined(separator: "&&")]
  }

  /// The words of a rule for packets, of one protocol if a number is given, that end before this word.
  static func endsBefore(_ word: UInt32, of number: UInt8?, _ family: Families) -> [String] {
    let known = number.flatMap { number in
      place(.transportProtocol, family).map {
        words([test($0, [UInt128(number)...UInt128(number)])])
      }
    }
    return (known ?? [])
      + ["-m", "u32", "!", "--u32", test(transport(family, word), [0...0xffff_ffff])]
  }
}

extension KernelField {
  /// It is in the transport header.
  var isOfTransport: Bool {
    switch self {
    case .sourcePort, .destinationPort, .icmpType, .icmpCode: true
    default: false
    }
  }
}

extension IPSetEntry.Part {
  fileprivate var withoutProtocol: Self {
    if case .transport(_, let port) = self { .port(port) } else { self }
  }
}
