// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutBridge
internal import CalloutEngine
internal import ConnectionTracking
internal import FirewallRules
internal import LinkLayer
internal import PacketTagging

/// `calloutd rules`: the rules of a policy file, without the daemon.
struct RulesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rules", abstract: "Prints, installs or removes the rules of a policy.",
    subcommands: [Print.self, Apply.self, Remove.self, Diff.self])

  /// Prints them.
  struct Print: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "print", abstract: "Prints the rules as text that nft or iptables can load.")
    @OptionGroup var file: ConfigurationOption
    @Flag(help: "Print the rules of the boot-time filters instead, as nft text.") var boot = false

    func run() async throws {
      try await reportingFailures {
        let policy = try PolicyFile.read(file.config)
        guard !boot else {
          return print(try policy.bootRules.text(try policy.bootPrograms), terminator: "")
        }
        print(
          try await Firewall.render(policy.ruleSet(), backend: policy.backendForPrinting),
          terminator: "")
      }
    }
  }

  /// Installs them.
  struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "apply", abstract: "Installs the rules; they stay without the daemon.")
    @OptionGroup var file: ConfigurationOption
    @Flag(
      help: ArgumentHelp(
        "Install the rules of the boot-time filters instead, which act until calloutd runs."))
    var boot = false

    func run() async throws {
      try await reportingFailures {
        let policy = try PolicyFile.read(file.config)
        guard !boot else {
          return try policy.bootRules.apply(
            try policy.bootPrograms, engineQueues: policy.configuration.queues)
        }
        try await policy.firewall().apply(try await policy.ruleSet())
      }
    }
  }

  /// Removes them.
  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "remove",
      abstract: "Removes our rules and chains, and devices and tc filters that no process holds.")
    @OptionGroup var file: ConfigurationOption
    @Option(
      help: ArgumentHelp(
        "Remove this table, whatever the policy file says or whether there is one.",
        valueName: "name"))
    var table: String?
    @Flag(help: "Remove them even if that drops packets which wait in queues.") var force = false

    func run() async throws {
      try await reportingFailures {
        let firewalls = try firewalls()
        for name in try HelperDevices.removeAbandoned() { print("removed the device \(name)") }
        for place in try AbandonedFilters.remove() { print("removed the filter \(place)") }
        // A table of a longer name has none.
        let boot = try? BootRules(besides: try ruleTable)
        try boot?.disable()
        for firewall in firewalls {
          try await firewall.empty()
          try await firewall.remove(force: force)
        }
        try await boot?.remove(force: force)
        let tracking = ConntrackUse.table(of: try ruleTable)
        if try ConntrackUse.end(table: tracking) { print("removed the table \(tracking)") }
      }
    }

    private var ruleTable: String {
      get throws { try table ?? PolicyFile.read(file.config).configuration.ruleTable }
    }

    private func firewalls() throws -> [Firewall] {
      if let table { return try Firewall.all(table: table) }
      let policy: PolicyFile
      do {
        policy = try PolicyFile.read(file.config)
      } catch {
        printError("calloutd: to remove rules without a policy, give --table callout")
        throw error
      }
      return [try policy.firewall()]
    }
  }

  /// Shows what applying would change.
  struct Diff: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "diff", abstract: "Prints what apply would change; exits with 1 if anything.")
    @OptionGroup var file: ConfigurationOption

    func run() async throws {
      try await reportingFailures {
        let policy = try PolicyFile.read(file.config)
        let firewall = try policy.firewall()
        let lines = try await firewall.diff(try await policy.ruleSet())
        for line in lines { print(line) }
        for rule in try await firewall.installed()?.intruders ?? [] {
          printError("calloutd: a rule of others in our chain may decide before ours: \(rule)")
        }
        if !lines.isEmpty { throw ExitCode.failure }
      }
    }
  }
}

extension PolicyFile {
  /// The rules that bring to the queues what packets the kernel does not decide.
  func ruleSet() async throws -> RuleSet {
    let policy = FilterPolicy(
      sublayers: sublayers.map(\.sublayer), filters: filters.map(\.filter))
    return configuration.ruleSet(for: policy, markMask: await markMask)
  }

  /// The bits that the daemon would take for its handles, as far as that can be told.
  private var markMask: UInt32 {
    get async {
      switch configuration.mark {
      case .off: return 0
      case .mask(let mask): return mask
      case .automatic:
        let uses = try? await MarkScan.scan(excluding: configuration.ruleTable)
        return uses.flatMap { MarkScan.freeField(in: $0) } ?? 0
      }
    }
  }

  /// The rules of the boot-time filters.
  var bootRules: BootRules {
    get throws(RuleError) { try BootRules(besides: configuration.ruleTable) }
  }

  /// The firewall as this file wants it.
  func firewall() throws(RuleError) -> Firewall {
    let backend: RuleBackend
    if let ruleBackend { backend = ruleBackend } else { backend = try RuleBackend.detect() }
    return try Firewall(backend: backend, table: configuration.ruleTable)
  }

  /// The means whose text is printed; nft's where none can be found out, for want of root.
  var backendForPrinting: RuleBackend {
    ruleBackend ?? (try? RuleBackend.detect()) ?? .nft
  }
}
