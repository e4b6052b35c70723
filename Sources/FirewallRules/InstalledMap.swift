// SPDX-License-Identifier: Apache-2.0

import CNFTables

/// One set or map of a program as the kernel holds it.
struct InstalledMap: Sendable, Equatable {
  /// What an element says, without its counter.
  struct Key: Sendable, Hashable {
    var low: [UInt8]
    var high: [UInt8]
    /// The verdict's code, 0 in a plain set.
    var verdict: UInt32
  }

  var name: String
  /// The packets that each element has matched.
  var packets: [Key: UInt64] = [:]

  /// Reads the elements of a map of ours.
  static func read(_ name: String, in table: String) throws(RuleError) -> InstalledMap {
    var map = InstalledMap(name: name)
    let request = NFTransaction.elementsRequest(name, in: table)
    for message in try NetlinkSocket.netfilter().dump(request, what: "list \(table) \(name)") {
      let list = NetlinkAttributes(message.payload.dropFirst(4))?
        .nested(NFTA_SET_ELEM_LIST_ELEMENTS.rawValue)?.list
      for (_, payload) in list ?? [] {
        guard let element = NetlinkAttributes(payload), let key = Key(element) else {
          throw .malformedAnswer(from: "nf_tables", detail: "an element of \(table) \(name)")
        }
        map.packets[key] =
          element.nested(NFTA_SET_ELEM_EXPR.rawValue)?
          .nested(NFTA_EXPR_DATA.rawValue)?.big64(NFTA_COUNTER_PACKETS.rawValue) ?? 0
      }
    }
    return map
  }
}

extension InstalledMap.Key {
  fileprivate init?(_ element: NetlinkAttributes) {
    func bytes(_ type: UInt32) -> [UInt8]? {
      element.nested(type)?[NFTA_DATA_VALUE.rawValue].map { Array($0) }
    }
    guard let low = bytes(NFTA_SET_ELEM_KEY.rawValue) else { return nil }
    let verdict = element.nested(NFTA_SET_ELEM_DATA.rawValue)?
      .nested(NFTA_DATA_VERDICT.rawValue)?.big32(NFTA_VERDICT_CODE.rawValue)
    self.init(
      low: low, high: bytes(NFTA_SET_ELEM_KEY_END.rawValue) ?? low, verdict: verdict ?? 0)
  }
}

extension KernelLayout.Map {
  /// What the kernel holds for an element.
  func installedKey(_ element: KernelElement) -> InstalledMap.Key {
    InstalledMap.Key(
      low: trimmed(key(element.ranges.map(\.lowerBound))),
      high: trimmed(key(element.ranges.map(\.upperBound))),
      verdict: isVerdictMap ? element.verdict.ofElement.code : 0)
  }

  /// The key of a single field is not padded.
  func trimmed(_ key: [UInt8]) -> [UInt8] {
    guard fields.count == 1, let field = fields.first else { return key }
    return Array(key.prefix(field.length(family)))
  }
}

extension InstalledRules {
  /// The packets that each filter has decided in the kernel, by its number in the programs.
  public func hits(of programs: [KernelProgram]) -> [Int: UInt64] {
    guard backend != .iptables else {
      return filters.hits(
        of: programs.compactMap {
          try? IPTablesProgram($0, in: OurChains(table: table), queue: [])
        })
    }
    let held = Dictionary(maps.map { ($0.name, $0.packets) }) { first, _ in first }
    var hits: [Int: UInt64] = [:]
    for map in programs.flatMap({ KernelLayout($0, queue: []).maps }) {
      guard let packets = held[map.name] else { continue }
      for element in map.elements where map.isCounted {
        hits[element.filter, default: 0] &+= packets[map.installedKey(element)] ?? 0
      }
    }
    return hits
  }

  /// How the chains and maps of programs differ from those of `ruleSet`.
  func programDifferences(from ruleSet: RuleSet) -> [String] {
    guard backend != .iptables else {
      do throws(RuleError) {
        return filters.differences(from: try ruleSet.iptablesPrograms())
      } catch {
        return ["+ filters that cannot be installed: \(error)"]
      }
    }
    let layouts = ruleSet.layouts(nil)
    var lines: [String] = []
    let chains = Dictionary(
      layouts.flatMap(\.chains).map { ($0.name, $0.rules.count) }, uniquingKeysWith: { $1 })
    for (name, rules) in chains.sorted(by: { $0.key < $1.key }) {
      // The queue rule is compared by itself.
      guard KernelLayout.parse(queueChain: name) == nil, programChains[name] != rules else {
        continue
      }
      if let held = programChains[name] { lines.append("- chain \(name) of \(held) rules") }
      lines.append("+ chain \(name) of \(rules) rules")
    }
    let gone = Set(programChains.keys).subtracting(chains.keys)
    for name in gone.sorted() where KernelLayout.parse(queueChain: name) == nil {
      lines.append("- chain \(name)")
    }
    let held = Dictionary(maps.map { ($0.name, Set($0.packets.keys)) }) { first, _ in first }
    let wanted = Dictionary(
      layouts.flatMap(\.maps).map { map in
        (map.name, Set(map.elements.map(map.installedKey)))
      }, uniquingKeysWith: { $1 })
    for name in Set(held.keys).union(wanted.keys).sorted() {
      let (old, new) = (held[name] ?? [], wanted[name] ?? [])
      let (less, more) = (old.subtracting(new).count, new.subtracting(old).count)
      if less > 0 { lines.append("- map \(name): \(less) elements") }
      if more > 0 { lines.append("+ map \(name): \(more) elements") }
    }
    return lines
  }
}
