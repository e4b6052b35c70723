// SPDX-License-Identifier: Apache-2.0

/// Our sets of ipset.
///
/// Each name has a generation: the sets of new rules are made while the old rules still ask theirs.
struct OurSets {
  /// Which of the sets that are there at the same time.
  enum Generation: String, CaseIterable {
    case a = "A"
    case b = "B"
    /// Of rules that are only tried.
    case rehearsal = "T"
  }

  /// The sets' prefix, for example `CALLOUT-`.
  let prefix: String

  init(_ chains: OurChains) { prefix = chains.prefix }

  func name(_ local: String, _ generation: Generation) -> String {
    "\(prefix)\(generation.rawValue)-\(local)"
  }

  /// What ``name(_:_:)`` has put together; nil for a set of others.
  func parse(_ name: String) -> (local: String, generation: Generation)? {
    guard name.hasPrefix(prefix) else { return nil }
    let parts = name.dropFirst(prefix.count).split(separator: "-", maxSplits: 1)
    guard parts.count == 2, let local = parts.last,
      let generation = parts.first.flatMap({ Generation(rawValue: String($0)) })
    else { return nil }
    return (String(local), generation)
  }

  /// The lines by which `ipset restore` makes these sets.
  func text(_ sets: [IPTablesProgram.Members], _ generation: Generation) -> String {
    var lines: [String] = []
    for set in sets {
      let name = name(set.name, generation)
      lines.append("create \(name) \(set.kind.rawValue) \(set.limits) counters comment")
      for (entry, element) in set.entries {
        lines.append("add \(name) \(entry) comment \"\(element.comment)\"")
      }
    }
    return (lines + [""]).joined(separator: "\n")
  }

  /// Makes sets of a generation that no rule asks; what a killed run has left of it goes first.
  func make(
    _ sets: [IPTablesProgram.Members], _ generation: Generation
  ) async throws(RuleError) {
    guard !sets.isEmpty else { return }
    guard Program.path(of: "ipset") != nil else {
      throw .noKernelFilters(reason: "ipset is not installed")
    }
    let left = await destroy { $0 == generation }
    guard left.isEmpty else {
      throw .noKernelFilters(
        reason: "other rules ask our sets \(left.joined(separator: ", "))")
    }
    do throws(RuleError) {
      _ = try await Program.run("ipset", ["restore", "-exist"], input: text(sets, generation))
    } catch {
      await destroy { $0 == generation }
      throw .noKernelFilters(reason: "\(error)")
    }
  }

  /// The generation that no rule of ours asks.
  func free(besides saved: [SavedRules]) -> Generation {
    let asked = saved.flatMap(\.rules).flatMap(\.setNames).compactMap { parse($0)?.generation }
    return asked.contains(.a) ? .b : .a
  }

  /// Destroys sets, and returns those that are still asked by somebody's rules.
  ///
  /// The kernel lets go of a deleted rule's sets a moment later.
  @discardableResult
  func destroy(_ isUnwanted: (Generation) -> Bool) async -> [String] {
    for attempt in 0..<20 {
      // Without the program, or without ipset in the kernel, there are none.
      guard let list = try? await Program.run("ipset", ["list", "-n"]) else { return [] }
      let names = list.split(whereSeparator: \.isNewline).map(String.init).filter {
        parse($0).map { isUnwanted($0.generation) } ?? false
      }
      guard !names.isEmpty else { return [] }
      guard attempt < 19 else { return names }
      if attempt > 0 { try? await Task.sleep(for: .milliseconds(5 * attempt)) }
      // Read line by line, so one that cannot go keeps no other.
      _ = try? await Program.run(
        "ipset", ["-"], input: names.map { "destroy \($0)\n" }.joined())
    }
    return []
  }

  /// The packets that each entry of these sets has counted, by local name.
  func read(_ names: [String]) async throws(RuleError) -> [String: [IPSetEntry: UInt64]] {
    guard !names.isEmpty else { return [:] }
    let requests = names.map { "save \($0)\n" }.joined()
    let text = try await Program.run("ipset", ["-"], input: requests)
    var sets: [String: [IPSetEntry: UInt64]] = [:]
    for line in text.split(separator: "\n") {
      // It prompts whether or not somebody reads. Then: add NAME ENTRY packets N bytes N comment …
      let words = line.split(separator: " ", maxSplits: 6).drop { $0 == "ipset>" }
      guard let name = words.dropFirst().first, let (local, _) = parse(String(name)) else {
        continue
      }
      if words.first == "create" {
        sets[local] = [:]
        continue
      }
      guard words.first == "add", let word = words.dropFirst(2).first,
        let entry = IPSetEntry(String(word))
      else { throw .malformedAnswer(from: "ipset", detail: String(line.prefix(200))) }
      sets[local, default: [:]][entry] = words.dropFirst(4).first.flatMap { UInt64($0) } ?? 0
    }
    return sets
  }
}

extension IPTablesProgram.Members {
  /// What of the set is fixed when it is made.
  fileprivate var limits: String {
    guard kind == .port else {
      return "family \(family == .ipv6 ? "inet6" : "inet") maxelem \(max(entries.count, 65536))"
    }
    let ports = entries.flatMap(\.entry.parts).compactMap { part in
      if case .port(let port) = part { port } else { nil }
    }
    return "range \(ports.min() ?? 0)-\(ports.max() ?? 0)"
  }
}
