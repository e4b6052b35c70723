// SPDX-License-Identifier: Apache-2.0

/// A test of some bits of a packet's mark.
public struct MarkMatch: Sendable, Hashable, CustomStringConvertible {
  /// What the masked mark must be; no bits outside `mask`.
  public var value: UInt32
  /// The bits that are looked at.
  public var mask: UInt32

  /// Makes a test that holds when `mark & mask == value`.
  public init(value: UInt32, mask: UInt32) {
    self.value = value
    self.mask = mask
  }

  /// `value/mask` in hexadecimal, as iptables writes it.
  public var description: String { "\(hexadecimal(value))/\(hexadecimal(mask))" }
}

/// Which packets go to which queues: what ``Firewall`` installs.
///
/// One rule is made for each hook and family, so each has its own counter.
public struct RuleSet: Sendable, Equatable {
  /// The name of the nft table in the `inet` family, and of another in the `bridge` family where
  /// frames are wanted; in capitals the prefix of iptables chains.
  public var table: String
  /// The queue numbers; flows are spread over them by hash.
  ///
  /// Corresponds to `--queue-balance`.
  public var queues: ClosedRange<UInt16>
  /// The hooks to take packets at, and the families taken there.
  ///
  /// The `nft` and `nft-compat` back ends alone know ``Families/bridge``, and only where the kernel
  /// has the `queue` statement: xtables has no target that queues frames.
  public var hooks: [RuleHook: Families]
  /// True if packets go on when nobody listens, false if they are dropped then.
  ///
  /// Corresponds to `NFT_QUEUE_FLAG_BYPASS` and `NFQ_FLAG_BYPASS`.
  public var bypass: Bool
  /// Where our chains stand among others at the same hook; lower runs earlier.
  ///
  /// The default is that of mangle: after conntrack (-200), before destination NAT (-100).
  /// The iptables back end knows only the default.
  public var priority: Int32
  /// Packets whose mark passes this test skip the queues.
  public var passMark: MarkMatch?
  /// What the kernel decides before any packet of that hook and family is queued.
  ///
  /// One for a hook and family at most, of those in ``hooks``. The iptables back end needs `ipset`,
  /// and queues what only a device's number would tell.
  public var programs: [KernelProgram]

  /// The priority of iptables' mangle table.
  ///
  /// Corresponds to `NF_IP_PRI_MANGLE`.
  public static let manglePriority: Int32 = -150

  /// Makes a description of rules; nothing is installed or checked yet.
  public init(
    table: String = "callout", queues: ClosedRange<UInt16>, hooks: [RuleHook: Families],
    bypass: Bool, priority: Int32 = RuleSet.manglePriority, passMark: MarkMatch? = nil,
    programs: [KernelProgram] = []
  ) {
    self.table = table
    self.queues = queues
    self.hooks = hooks
    self.bypass = bypass
    self.priority = priority
    self.passMark = passMark
    self.programs = programs
  }

  /// Throws ``RuleError/invalidRuleSet(_:)`` if no kernel could take these rules.
  public func validate() throws(RuleError) {
    try Self.validate(table: table)
    // The kernel counts queues in 16 bits, so 0...65535 is one too many.
    guard queues.count <= Int(UInt16.max) else {
      throw .invalidRuleSet("\(queues.count) queues: a rule can name 65535 at most")
    }
    guard passMark == nil || programs.isEmpty else {
      throw .invalidRuleSet("a pass mark and programs: the one skips what the other would block")
    }
    if let passMark {
      guard passMark.mask != 0, passMark.value & ~passMark.mask == 0 else {
        throw .invalidRuleSet(
          "pass mark \(passMark): the mask must not be 0 and must cover the value")
      }
    }
  }

  /// Throws unless `table` can name an nft table and begin the name of an iptables chain.
  static func validate(table: String) throws(RuleError) {
    let bytes = Array(table.utf8)
    // "-POSTROUTING" must still fit in an iptables chain's 28 characters.
    guard (1...16).contains(bytes.count), let first = bytes.first, first.isLetter,
      bytes.allSatisfy({ $0.isLetter || $0.isDigit || $0 == UInt8(ascii: "_") })
    else {
      throw .invalidRuleSet(
        "table name \"\(table)\": 1 to 16 letters, digits and _, beginning with a letter")
    }
  }

  /// Throws if an engine's table of this name would be taken for one that stands beside another's.
  public static func validate(engineTable table: String) throws(RuleError) {
    try validate(table: table)
    guard !["_boot", "_flows"].contains(where: { table.lowercased().hasSuffix($0) }) else {
      throw .invalidRuleSet(
        "table name \"\(table)\": what ends with _boot or _flows stands beside an engine's table")
    }
  }

  /// The rules that this set asks for, by hook and family.
  var planned: [PlannedRule] {
    hooks.sorted { $0.key < $1.key }.flatMap { hook, families in
      families.each.map {
        PlannedRule(
          hook: hook, priority: priority, family: $0, queues: queues, bypass: bypass,
          passMark: passMark, isSelective: program(hook, $0) != nil)
      }
    }
  }

  /// What the kernel decides of a family's packets at a hook.
  func program(_ hook: RuleHook, _ family: Families) -> KernelProgram? {
    programs.first { $0.hook == hook && $0.family == family }
  }

  /// The programs as chains and maps; only what is queued depends on the means.
  func layouts(_ backend: RuleBackend?) -> [KernelLayout] {
    planned.compactMap { rule in
      program(rule.hook, rule.family).map {
        KernelLayout($0, queue: backend.map { rule.queueSteps($0) } ?? [])
      }
    }
  }

  /// The rules that go into our table of a kind.
  func planned(in kind: TableKind) -> [PlannedRule] {
    planned.filter { TableKind(of: $0.family) == kind }
  }
}

/// One rule as ``RuleSet`` asks for it and as it is read back.
struct PlannedRule: Hashable, CustomStringConvertible {
  var hook: RuleHook
  var priority: Int32
  var family: Families
  var queues: ClosedRange<UInt16>
  var bypass: Bool
  var passMark: MarkMatch?
  /// Only what a program selects is queued.
  var isSelective = false

  var description: String {
    let numbers = queues.count == 1 ? "\(queues.lowerBound)" : queues.dashed
    var text = "\(hook.name) (priority \(priority)) \(family): queue \(numbers)"
    text += bypass ? ", bypass" : ", block without a listener"
    if let passMark { text += ", unless marked \(passMark)" }
    if isSelective { text += ", behind kernel filters" }
    return text
  }
}

extension ClosedRange where Bound == UInt16 {
  /// `first-last`, as nft writes it.
  var dashed: String { "\(lowerBound)-\(upperBound)" }
}

extension UInt8 {
  var isLetter: Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20)
  }
  var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
}

/// A mark as people write it: `0xca6c`.
func hexadecimal(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
