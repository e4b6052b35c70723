// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

/// What iptables and ipset hold of our programs.
struct InstalledFilters: Sendable, Equatable {
  /// One chain of a family.
  struct Place: Sendable, Hashable, Comparable, CustomStringConvertible {
    var family: Families
    var chain: String

    static func < (left: Self, right: Self) -> Bool {
      (left.chain, left.family.rawValue) < (right.chain, right.family.rawValue)
    }

    var description: String { "\(chain) \(family)" }
  }

  /// One rule, with the local names of sets.
  struct Rule: Sendable, Equatable {
    var words: [String]
    var packets: UInt64
  }

  /// The rules of each chain but those that queue.
  var rules: [Place: [Rule]] = [:]
  /// The packets of each set's entries, by local name.
  var sets: [String: [IPSetEntry: UInt64]] = [:]
}

extension InstalledFilters {
  /// Adds the chains of one family's table, and to `names` the sets that they ask.
  mutating func add(
    _ saved: SavedRules, _ family: Families, _ chains: OurChains, names: inout Set<String>
  ) {
    for chain in saved.programs(chains) where chains.queueHook(of: chain) == nil {
      rules[Place(family: family, chain: chain)] = []
    }
    let sets = OurSets(chains)
    for rule in saved.rules where rule.table == "mangle" && chains.isOfProgram(rule.chain) {
      names.formUnion(rule.setNames.filter { sets.parse($0) != nil })
      let place = Place(family: family, chain: rule.chain)
      rules[place]?.append(Rule(words: rule.plainWords(sets), packets: rule.packets))
    }
  }

  /// The packets that each filter has decided in the kernel.
  func hits(of programs: [IPTablesProgram]) -> [Int: UInt64] {
    var hits: [Int: UInt64] = [:]
    for program in programs {
      for set in program.sets where set.isCounted {
        guard let held = sets[set.name] else { continue }
        for (entry, element) in set.entries {
          hits[element.filter, default: 0] &+= held[entry] ?? 0
        }
      }
      for chain in program.chains {
        let place = Place(family: program.family, chain: chain.name)
        let held = Dictionary(
          (rules[place] ?? []).map { ($0.words, $0.packets) }, uniquingKeysWith: &+)
        for rule in chain.rules {
          if let filter = rule.filter { hits[filter, default: 0] &+= held[rule.words] ?? 0 }
        }
      }
    }
    return hits
  }

  /// How all this differs from what `programs` ask for.
  func differences(from programs: [IPTablesProgram]) -> [String] {
    var lines: [String] = []
    var wanted: [Place: [[String]]] = [:]
    for program in programs {
      // The queue rule is compared by itself.
      for chain in program.chains.dropFirst() {
        wanted[Place(family: program.family, chain: chain.name)] = chain.rules.map(\.words)
      }
    }
    for place in Set(rules.keys).union(wanted.keys).sorted() {
      let (old, new) = (rules[place]?.map(\.words), wanted[place])
      guard old != new else { continue }
      if let old { lines.append("- chain \(place) of \(old.count) rules") }
      if let new { lines.append("+ chain \(place) of \(new.count) rules") }
    }
    let members = Dictionary(
      programs.flatMap(\.sets).map { ($0.name, Set($0.entries.map(\.entry))) },
      uniquingKeysWith: { $1 })
    for name in Set(sets.keys).union(members.keys).sorted() {
      let (old, new) = (Set((sets[name] ?? [:]).keys), members[name] ?? [])
      let (less, more) = (old.subtracting(new).count, new.subtracting(old).count)
      if less > 0 { lines.append("- set \(name): \(less) entries") }
      if more > 0 { lines.append("+ set \(name): \(more) entries") }
    }
    return lines
  }
}

extension SavedRule {
  /// The sets that the rule asks.
  var setNames: [String] {
    words.indices.filter { $0 > 0 && words[$0 - 1] == "--match-set" }.map { words[$0] }
  }

  /// The words as ``IPTablesProgram/Rule`` has them.
  fileprivate func plainWords(_ sets: OurSets) -> [String] {
    words.enumerated().map { place, word in
      switch place > 0 ? words[place - 1] : "" {
      case "--match-set": sets.parse(word)?.local ?? word
      // An IPv6 address has more than one text.
      case "-s", "-d": IPPrefix(word)?.description ?? word
      case "--src-range", "--dst-range":
        word.split(separator: "-").map { IPAddress(String($0))?.description ?? String($0) }
          .joined(separator: "-")
      default: word
      }
    }
  }
}
