// SPDX-License-Identifier: Apache-2.0

/// A program as chains of iptables and sets of ipset, with the ways that ``KernelLayout`` gives it.
///
/// What many elements of a map have alike is one rule that asks a set; an element that no set can hold
/// is a rule by itself. Elements of a map are disjoint, so their order says nothing. Packets whose
/// transport header is cut short are queued: neither set nor match would tell their ports.
struct IPTablesProgram {
  /// One rule of a chain; sets have their local names.
  struct Rule {
    var words: [String]
    /// The filter that it counts for, nil if none or if its set counts.
    var filter: Int?
  }

  /// One chain and its rules.
  struct Chain {
    var name: String
    var rules: [Rule]
  }

  /// One set.
  struct Members {
    /// The name without prefix and generation.
    var name: String
    var kind: IPSetKind
    var family: Families
    /// Its entries are of filters that decide here.
    var isCounted: Bool
    var entries: [(entry: IPSetEntry, element: KernelElement)]
  }

  /// The chain where the hook's chain sends its packets.
  let entry: String
  let family: Families
  let hook: RuleHook
  private(set) var chains: [Chain] = []
  private(set) var sets: [Members] = []

  /// Rules that no set can hold, of one program.
  static let mostRules = 1000
  private let names: [String: String]
  private let maps: [String: KernelLayout.Map]
  private var transportWords: [UInt8: UInt32] = [:]
  private var readsTransport = false

  /// `queue` has the words that queue a packet.
  ///
  /// - Throws: ``RuleError/noKernelFilters(reason:)`` if it comes to too many rules.
  init(_ program: KernelProgram, in ours: OurChains, queue: [String]) throws(RuleError) {
    (family, hook) = (program.family, program.hook)
    let layout = KernelLayout(program.sayable, queue: [])
    let numbers = layout.chains.enumerated().map { ($1.name, ours.name($0, of: program.hook)) }
    names = Dictionary(numbers) { first, _ in first }
    maps = Dictionary(layout.maps.map { ($0.name, $0) }) { first, _ in first }
    entry = names[layout.entry] ?? ours.name(0, of: program.hook)
    for (number, chain) in layout.chains.enumerated() {
      var rules: [Rule] = []
      if number == 0 {
        rules.append(Rule(words: queue))
      } else if chain.name == layout.entry {
        // It is the last: what is read of headers is known. Handles and what ends elsewhere come first.
        let first = chain.rules.prefix(program.markMask == 0 ? 1 : 2).flatMap { self.rules($0) }
        let later = chain.rules.dropFirst(program.markMask == 0 ? 1 : 2).flatMap { self.rules($0) }
        let queue = words(.goto(layout.chains.first?.name ?? ""))
        rules = first + shortHeaders.map { Rule(words: $0 + queue) } + later
      } else {
        rules = chain.rules.flatMap { self.rules($0) }
      }
      chains.append(Chain(name: ours.name(number, of: program.hook), rules: rules))
    }
    let count = chains.reduce(0) { $0 + $1.rules.count }
    guard count <= Self.mostRules, layout.chains.count <= OurChains.mostOfHook else {
      throw .noKernelFilters(
        reason: "\(count) rules in \(chains.count) chains at \(program.hook.name) \(family), "
          + "\(Self.mostRules) and \(OurChains.mostOfHook) at most")
    }
  }

  /// Words for packets that end before what is read of them.
  private var shortHeaders: [[String]] {
    (readsTransport ? [U32.endsBefore(0, of: nil, family)] : [])
      + transportWords.sorted { $0.key < $1.key }.map { U32.endsBefore($1, of: $0, family) }
  }

  private mutating func rules(_ steps: [NFTransaction.Step]) -> [Rule] {
    var words: [String] = []
    for (number, step) in steps.enumerated() {
      switch step {
      case .ifMarked(let mask):
        words += ["-m", "mark", "!", "--mark", "0x0/\(hexadecimal(mask))"]
      case .ifFragment:
        words += U32.isFragment
      case .ifReleased(let mark, let family):
        words += ["-m", "connmark", "--mark", mark.description]
        words += ["-m", "conntrack", "!", "--ctstate", "SNAT,DNAT"]
        let icmp = UInt128(family.icmp)
        guard let place = U32.place(.transportProtocol, family) else { continue }
        words += U32.words([U32.test(place, [0...(icmp - 1), (icmp + 1)...255])])
      case .lookUp(_, _, let name, let isVerdictMap):
        guard let map = maps[name] else { return [] }
        guard !isVerdictMap else { return lookUp(map) { $0.ofElement } }
        guard steps.indices.contains(number + 1), case .verdict(let verdict) = steps[number + 1]
        else { return [] }
        return lookUp(map) { _ in verdict }
      case .verdict(let verdict):
        return [Rule(words: words + self.words(verdict))]
      case .matchFamily, .unlessMark, .counter, .queue, .queueTarget:
        break
      }
    }
    return []
  }

  /// The rules that ask for a map's elements.
  private mutating func lookUp(
    _ map: KernelLayout.Map, _ verdict: (KernelVerdict) -> NFTransaction.Verdict
  ) -> [Rule] {
    if let rules = simpleRules(map, verdict(.permit)) { return rules }
    struct Group: Hashable {
      var test: IPTablesMatch.Test
      var words: [String]
    }
    var rules: [Rule] = []
    var places: [Group: Int] = [:]
    for element in map.elements {
      guard let match = IPTablesMatch(element, map.fields, family, at: hook) else { continue }
      transportWords.merge(match.transportWords) { first, _ in first }
      readsTransport = readsTransport || match.readsTransport
      let words = words(verdict(element.verdict))
      guard let kind = match.test.kind else {
        rules.append(
          Rule(
            words: match.test.words + element.commentWords + words,
            filter: map.isCounted ? element.filter : nil))
        continue
      }
      let group = Group(test: match.test, words: words)
      let place = places[group] ?? sets.count
      if place == sets.count {
        places[group] = place
        let name = "\(OurChains.short(hook))\(family == .ipv6 ? 6 : 4)-\(place)"
        sets.append(
          Members(name: name, kind: kind, family: family, isCounted: map.isCounted, entries: []))
        let directions = match.test.directions.joined(separator: ",")
        rules.append(
          Rule(words: match.test.words + ["-m", "set", "--match-set", name, directions] + words))
      }
      sets[place].entries += match.entries.map { ($0, element) }
    }
    return rules
  }

  /// Few rules for many values of one field that nobody counts.
  private mutating func simpleRules(
    _ map: KernelLayout.Map, _ verdict: NFTransaction.Verdict
  ) -> [Rule]? {
    guard !map.isCounted, map.fields.count == 1, let field = map.fields.first,
      let place = U32.place(field, family)
    else { return nil }
    if field.isOfTransport { readsTransport = true }
    let ranges = map.elements.compactMap(\.ranges.first)
    return stride(from: 0, to: ranges.count, by: U32.mostRanges).map { first in
      let part = Array(ranges[first...].prefix(U32.mostRanges))
      return Rule(words: U32.words([U32.test(place, part)]) + words(verdict))
    }
  }

  private func words(_ verdict: NFTransaction.Verdict) -> [String] {
    switch verdict {
    case .drop: ["-j", "DROP"]
    case .return: ["-j", "RETURN"]
    case .jump(let chain): ["-j", names[chain] ?? chain]
    case .goto(let chain): ["-g", names[chain] ?? chain]
    }
  }
}

extension IPTablesProgram {
  /// The rules as iptables-restore reads them.
  func lines(sets: OurSets, _ generation: OurSets.Generation) -> [String] {
    chains.flatMap { chain in
      chain.rules.map { "-A \(chain.name) " + $0.text(sets, generation) }
    }
  }
}

extension IPTablesProgram.Rule {
  /// The rule behind its chain's name.
  func text(_ sets: OurSets, _ generation: OurSets.Generation) -> String {
    words.indices.map { place in
      if place > 0, words[place - 1] == "--match-set" { return sets.name(words[place], generation) }
      return words[place].contains(" ") ? "\"\(words[place])\"" : words[place]
    }.joined(separator: " ")
  }
}

extension RuleSet {
  /// What the kernel decides, as chains of iptables and sets.
  func iptablesPrograms() throws(RuleError) -> [IPTablesProgram] {
    let chains = OurChains(table: table)
    var programs: [IPTablesProgram] = []
    for rule in planned {
      guard let program = program(rule.hook, rule.family) else { continue }
      programs.append(try IPTablesProgram(program, in: chains, queue: rule.iptablesQueue))
    }
    return programs
  }
}

extension KernelElement {
  fileprivate var commentWords: [String] {
    comment.trimmed.isEmpty ? [] : ["-m", "comment", "--comment", comment]
  }
}
