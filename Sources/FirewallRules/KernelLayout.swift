// SPDX-License-Identifier: Apache-2.0

/// A program as chains and maps of nf_tables, all of names that begin with ``KernelProgram/prefix``.
///
/// ```
/// base chain ─goto─▶ entry ─goto─▶ queue chain: counter, queue
///                      ├goto─▶ the same for released flows, as their callouts would answer
///                      │ jump ▶ a sublayer: permit = return, block = drop
///                      └goto─▶ the rest, behind a sublayer that permits for good
/// ```
/// Entry and rest are never jumped to, so their `return` leaves our rules for good. The kernel checks
/// every chain once for each way to it: so elements name no chain, and ways by `goto` are few.
struct KernelLayout {
  /// One regular chain and its rules.
  struct Chain {
    var name: String
    var rules: [[NFTransaction.Step]]
  }

  /// One set, or a verdict map where elements have verdicts.
  struct Map {
    var name: String
    var family: Families
    var fields: [KernelField]
    var isExact: Bool
    var isVerdictMap: Bool
    /// Its elements are of filters that decide here.
    var isCounted: Bool
    var elements: [KernelElement]
  }

  /// The chain where the base chain sends packets of the program's family.
  let entry: String
  /// A chain stands before those that lead to it.
  private(set) var chains: [Chain] = []
  private(set) var maps: [Map] = []
  private let family: Families
  /// What is looked up has its transport header right behind the IP header.
  let isPlain: Bool

  init(_ program: KernelProgram, queue: [NFTransaction.Step]) {
    entry = KernelProgram.entry(program.hook, program.family)
    family = program.family
    isPlain = !program.queuesNothing
    guard !program.queuesNothing else {
      let rules = rest(program.sublayers[...], entry, from: 0)
      chains.append(Chain(name: entry, rules: rules))
      return
    }
    let queueChain = Self.queueChain(program.hook, program.family)
    chains.append(Chain(name: queueChain, rules: [queue]))
    var rules: [[NFTransaction.Step]] = []
    if program.markMask != 0 {
      rules.append([.ifMarked(program.markMask), .verdict(.goto(queueChain))])
    }
    if family == .ipv4 {
      rules.append([.ifFragment, .verdict(.goto(queueChain))])
    } else {
      let lookUp = add(
        .extensionHeaders, "\(entry)_extensions", isVerdictMap: false, isCounted: false)
      rules.append(lookUp + [.verdict(.goto(queueChain))])
    }
    if let bypass = program.bypass {
      // Its name tells the value, so that rules with another are known to be others.
      let name = "\(entry)_pass_\(String(bypass.mark.value, radix: 16))"
      let selected = select(bypass.selection, name, queueChain)
      chains.append(
        Chain(name: name, rules: selected + rest(bypass.sublayers[...], name, from: 0)))
      rules.append([.ifReleased(bypass.mark, family), .verdict(.goto(name))])
    }
    if program.queuesAll {
      rules.append([.verdict(.goto(queueChain))])
    } else {
      rules += select(program.selection, entry, queueChain)
      rules += rest(program.sublayers[...], entry, from: 0)
    }
    chains.append(Chain(name: entry, rules: rules))
  }

  /// Rules that queue what any of these maps has.
  private mutating func select(
    _ selection: [KernelMap], _ name: String, _ queueChain: String
  ) -> [[NFTransaction.Step]] {
    selection.enumerated().map { place, map in
      add(map, "\(name)_select_\(place)", isVerdictMap: false, isCounted: false)
        + [.verdict(.goto(queueChain))]
    }
  }

  /// The rules of these sublayers, in a chain whose `return` leaves ours.
  private mutating func rest(
    _ sublayers: ArraySlice<[KernelMap]>, _ prefix: String, from number: Int
  ) -> [[NFTransaction.Step]] {
    guard let first = sublayers.first else { return [] }
    let name = "\(prefix)_\(number)"
    guard first.contains(where: \.permitsForGood) else {
      let later = rest(sublayers.dropFirst(), prefix, from: number + 1)
      var rules: [[NFTransaction.Step]] = []
      for (place, map) in first.enumerated() {
        rules.append(add(map, "\(name)_\(place)", isVerdictMap: true))
      }
      chains.append(Chain(name: name, rules: rules))
      return [[.verdict(.jump(name))]] + later
    }
    let later = rest(sublayers.dropFirst(), prefix, from: number + 1)
    guard !later.isEmpty else {
      return first.enumerated().map { add($1, "\(name)_\($0)", isVerdictMap: true) }
    }
    let behind = "\(name)_behind"
    chains.append(Chain(name: behind, rules: later))
    var rules: [[NFTransaction.Step]] = []
    for (place, map) in first.enumerated() {
      let final = map.filtered { $0 != .permit }
      let open = map.filtered { $0 == .permit }
      if !final.elements.isEmpty {
        rules.append(add(final, "\(name)_\(place)", isVerdictMap: true))
      }
      guard !open.elements.isEmpty else { continue }
      let lookUp = add(open, "\(name)_\(place)_open", isVerdictMap: false)
      rules.append(lookUp + [.verdict(.goto(behind))])
    }
    return rules + [[.verdict(.goto(behind))]]
  }

  private mutating func add(
    _ map: KernelMap, _ name: String, isVerdictMap: Bool, isCounted: Bool = true
  ) -> [NFTransaction.Step] {
    let map = map.padded(family)
    maps.append(
      Map(
        name: name, family: family, fields: map.fields, isExact: map.isExact,
        isVerdictMap: isVerdictMap, isCounted: isCounted, elements: map.elements))
    return [.lookUp(map.fields, family, name, isVerdictMap: isVerdictMap)]
  }

  /// The chain in which packets of a program are queued.
  static func queueChain(_ hook: RuleHook, _ family: Families) -> String {
    "\(KernelProgram.prefix)\(hook.name)_\(family)_queue"
  }

  /// The hook and family of a chain that ``queueChain(_:_:)`` has named; nil for any other.
  static func parse(queueChain name: String) -> (hook: RuleHook, family: Families)? {
    for hook in RuleHook.allCases {
      for family in Families.both.each where queueChain(hook, family) == name {
        return (hook, family)
      }
    }
    return nil
  }
}

extension KernelMap {
  var permitsForGood: Bool { elements.contains { $0.verdict == .permitForGood } }

  fileprivate func filtered(_ isWanted: (KernelVerdict) -> Bool) -> KernelMap {
    KernelMap(fields: fields, elements: elements.filter { isWanted($0.verdict) })
  }

  /// IPv6 packets behind whose header no transport header follows at once.
  fileprivate static let extensionHeaders = KernelMap(
    fields: [.nextHeader],
    elements: [0, 43, 44, 50, 51, 59, 60, 135, 139, 140].map {
      KernelElement(
        ranges: [$0...$0], verdict: .permit, filter: -1, name: "extension header \($0)")
    })
}

extension KernelVerdict {
  /// The verdict of a map's element.
  var ofElement: NFTransaction.Verdict { self == .block ? .drop : .return }
}
