// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
public import FirewallRules
public import Kernel
public import LinkLayer
public import NetfilterQueue
public import PacketTagging

/// Why a bridge could not start, take a policy or answer; nothing was lost, what ran goes on.
public enum BridgeError: Error, Sendable, CustomStringConvertible {
  /// A queue could not be bound.
  case queue(QueueError)
  /// The rules could not be read or installed.
  case rules(RuleError)
  /// The policy is wrong.
  case policy(PolicyError)
  /// An object could not be added or deleted, or a transaction not begun.
  case engine(EngineError)
  /// The file that keeps persistent objects cannot be used.
  case objectStore(ObjectStoreError)
  /// A callout refused a filter. `STATUS_FWP_CALLOUT_NOTIFICATION_FAILED`.
  case filterRefused(callout: String, reason: String)
  /// A callout that would go holds contexts on flows.
  ///
  /// `STATUS_DEVICE_BUSY`.
  case calloutBusy(String, contexts: Int)
  /// The mask is not one run of 8 to 24 bits.
  case badMask(UInt32)
  /// No run of 8 free bits is left in the mark.
  case noFreeMark(uses: [String])
  /// Somebody else's rules use bits of the mask.
  case markConflict(mask: UInt32, uses: [String])
  /// Other rules use bits of the conntrack mark that the flow bypass was given.
  case flowMarkConflict(mask: UInt32, uses: [String])
  /// The queues' numbers do not fit.
  case badQueues(first: UInt16, count: UInt16)
  /// The bridge is not running, or runs already.
  case wrongState(String)
  /// A worker does not answer: a callout blocks its thread.
  case stuck(queue: UInt16)
  /// The frames of a device cannot be diverted.
  case divert(DivertError)
  /// There is no interface of that name.
  case noInterface(String)
  /// Frames cannot be told apart without bits of the mark.
  case framesNeedMark
  /// Nothing brings frames to that layer here.
  case layerNotServed(Layer, reason: String)
  /// Anything else the kernel said.
  case system(SystemError)

  /// What is wrong and what to do about it.
  public var description: String {
    switch self {
    case .queue(let error): error.description
    case .rules(let error): error.description
    case .policy(let error): error.description
    case .engine(let error): error.description
    case .objectStore(let error): error.description
    case .filterRefused(let callout, let reason):
      "callout \"\(callout)\" refuses a filter: \(reason)"
    case .calloutBusy(let callout, let contexts):
      "callout \"\(callout)\" cannot go while flows bear \(contexts) contexts of it: remove them by "
        + "removeFlowContexts first"
    case .badMask(let mask):
      "mark mask 0x\(String(mask, radix: 16)) is not one run of 8 to 24 bits"
    case .noFreeMark(let uses):
      "no run of 8 free mark bits is left; give mark.mask, or free some of these: "
        + uses.joined(separator: "; ")
    case .markConflict(let mask, let uses):
      "mark mask 0x\(String(mask, radix: 16)) is used by other rules, choose another, "
        + "mark.mask: auto, or share the bits by mark.ignore-conflicts: true: "
        + uses.joined(separator: "; ")
    case .flowMarkConflict(let mask, let uses):
      "conntrack mark mask 0x\(String(mask, radix: 16)) is used by other rules, choose another, "
        + "rules.flow-bypass: auto or off, or share the bits by mark.ignore-conflicts: true: "
        + uses.joined(separator: "; ")
    case .badQueues(let first, let count):
      "\(count) queues from \(first) do not fit into 0 to 65535 or are more than 64"
    case .wrongState(let state): state
    case .stuck(let queue):
      "the worker of queue \(queue) does not answer: a callout blocks its thread"
    case .divert(let error): error.description
    case .noInterface(let name):
      "there is no interface \(name) in this network namespace; look at `ip link`, and put its name "
        + "right in interfaces"
    case .framesNeedMark:
      "filters of MAC layers need bits of the mark; set mark.mask to auto or to a mask"
    case .layerNotServed(let layer, let reason):
      "nothing brings frames to \(layer.name) here, since they cannot be queued (\(reason)): use a "
        + "kernel with nft_queue and nf_tables' bridge family and rules.backend nft, or the MAC layers "
        + "of the bridge's ports"
    case .system(let error): error.description
    }
  }

  /// The number that WFP has for it, nil for none.
  public var status: WFPStatus? {
    switch self {
    case .policy(let error): error.status
    case .engine(let error): error.status
    case .objectStore(let error): error.status
    case .filterRefused: .calloutNotificationFailed
    case .calloutBusy: .deviceBusy
    default: nil
    }
  }

  /// Whether more privilege would help.
  public var isNotPermitted: Bool {
    switch self {
    case .queue(.notPermitted): true
    case .queue(.system(let error)), .system(let error): error.errno == 1 || error.errno == 13
    case .rules(.refused(_, let errno, _)), .rules(.unreadable(_, let errno)):
      errno == 1 || errno == 13
    default: false
    }
  }
}
