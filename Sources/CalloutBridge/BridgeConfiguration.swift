// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
public import FirewallRules
public import PacketTagging

/// What happens to packets that nobody decides: a full queue, a missed deadline, a dead daemon.
public enum FailurePolicy: String, Sendable, CaseIterable {
  /// They go on unseen: rules with bypass, queues that fail open.
  case permit
  /// They are dropped, and our rules stay when the process dies.
  case block
}

/// How a bridge is set up.
///
/// Of a running bridge only the interfaces can change, with its policy: see `Bridge.apply`.
public struct BridgeConfiguration: Sendable, Hashable {
  /// Which bits of the mark carry handles.
  public enum MarkChoice: Sendable, Hashable {
    /// The widest free run that a scan of the rules finds.
    case automatic
    /// These bits.
    case mask(UInt32)
    /// None: nothing can be tagged.
    case off
  }

  /// Who installs the rules that send packets to the queues.
  public enum RuleChoice: Sendable, Hashable {
    /// The bridge, by this back end (nil: the best that works here).
    case managed(RuleBackend?)
    /// The operator.
    case unmanaged
  }

  /// Who decides packets that no callout can want.
  public enum KernelFilterChoice: Sendable, Hashable {
    /// The kernel, as far as it can say the filters exactly.
    case automatic
    /// The workers, like all others.
    case off
  }

  /// Whether the kernel passes the packets of flows that every callout has released.
  public enum FlowBypassChoice: Sendable, Hashable {
    /// Yes, by bits of the conntrack mark that no rule uses, where the rules are ours.
    case automatic
    /// Yes, by these bits of the conntrack mark: one run of two at least.
    case mask(UInt32)
    /// No: they are queued, and permitted at the places of their callouts.
    case off
  }

  /// Who tells what becomes of packets that were let go.
  public enum LifecycleChoice: Sendable, Hashable {
    /// The kernel, where it can be observed; else the verdicts.
    case automatic
    /// The verdicts alone.
    case verdicts
  }

  /// Which bits of the mark carry handles.
  public var mark = MarkChoice.automatic
  /// Use the given mask although other rules use some of its bits.
  public var ignoresMarkConflicts = false
  /// The first queue's number.
  public var firstQueue: UInt16 = 31000
  /// How many queues, each with a thread of its own.
  public var queueCount: UInt16 = 1
  /// Bytes of each packet that are copied, 0 for all; nil: what callouts and filters need.
  public var copyRange: UInt32?
  /// Packets that may wait in one queue.
  public var maximumLength: UInt32 = 8192
  /// What happens to packets that nobody decides.
  public var failurePolicy = FailurePolicy.permit
  /// How long a pended packet may wait, an hour at most.
  public var pendDeadline = Duration.seconds(5)
  /// Who installs the rules.
  public var rules = RuleChoice.managed(nil)
  /// Who decides packets that no callout can want; the workers, where the rules are not ours.
  public var kernelFilters = KernelFilterChoice.automatic
  /// The interfaces whose frames the MAC layers see.
  ///
  /// All must be there when the first filter of a MAC layer comes. One that goes then is seen again
  /// when it comes again; one that is renamed goes on, until another takes the name.
  public var interfaces: [String] = []
  /// Who tells what becomes of packets that were let go.
  public var lifecycle = LifecycleChoice.automatic
  /// The name of our own table.
  public var ruleTable = "callout"
  /// A context whose packet was let go and not met again for so long, an hour at most, is lost.
  public var sweepAfter = Duration.seconds(2)
  /// The most handles of one queue.
  public var maximumHandles = 1 << 20
  /// Whether the kernel passes the packets of flows that every callout has released.
  public var flowBypass = FlowBypassChoice.automatic
  /// The file that keeps what sessions add as persistent; nil: nothing can be added so.
  ///
  /// Read by `start`, replaced by each transaction that changes such objects before its `commit`
  /// returns. Only one bridge at a time can have it; its folder should survive a reboot.
  public var objectStore: String?
  /// A worker that does not answer for so long counts as stuck.
  package var patience = Duration.seconds(5)
  /// Room for events of connections that are not yet read, in bytes.
  package var flowEventBytes: Int32 = 8 << 20
  /// Where the epoch of the last start is kept; nil keeps none.
  public var stateDirectory: String? = "/run/callout"

  /// The defaults of the policy file.
  public init() {}

  /// The queues' numbers, as far as there are such numbers; `start` refuses what does not fit.
  public var queues: ClosedRange<UInt16> {
    firstQueue...UInt16(clamping: Int(firstQueue) + max(Int(queueCount), 1) - 1)
  }
}

extension BridgeConfiguration {
  /// The rules that send to the queues what packets of this policy the kernel does not decide.
  ///
  /// `markMask` has the bits of the mark that bear handles, 0 for none; `released` is what the conntrack
  /// mark says of flows that every callout has released, which only a running bridge knows.
  public func ruleSet(
    for policy: FilterPolicy, markMask: UInt32, released: MarkMatch? = nil
  ) -> RuleSet {
    var rules = ruleSet(for: policy.layers)
    if kernelFilters == .automatic {
      rules.programs = policy.kernelPrograms(markMask: markMask, released: released)
    }
    return rules
  }

  /// The rules that send packets of these layers to the queues.
  public func ruleSet(for layers: Set<Layer>) -> RuleSet {
    var hooks: [RuleHook: Families] = [:]
    for layer in layers {
      // Each frame that leaves by a port meets one of two hooks, by whether this host sent it.
      switch layer {
      case .ingressVSwitchEthernet: hooks[.prerouting, default: []].insert(.bridge)
      case .egressVSwitchEthernet:
        hooks[.forward, default: []].insert(.bridge)
        hooks[.output, default: []].insert(.bridge)
      default: break
      }
      for hook in Hook.allCases where layer.hooks.contains(HookSet(hook)) {
        guard let hook = RuleHook(rawValue: hook.rawValue) else { continue }
        hooks[hook, default: []].insert(layer.isIPv6 ? .ipv6 : .ipv4)
      }
    }
    return RuleSet(
      table: ruleTable, queues: queues, hooks: hooks, bypass: failurePolicy == .permit)
  }
}
