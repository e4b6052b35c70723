// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

/// A process of this host that has a flow's socket.
///
/// Of several, as after a fork, the one of the lowest number is meant, and `init` only where no other
/// has it.
public struct FlowProcess: Sendable, Hashable {
  /// Its number in the process namespace of this program.
  public var id: UInt32
  /// The path of its executable, as the kernel tells it; one that was deleted since bears no note of
  /// that.
  ///
  /// Another mount namespace may have another file under that path.
  public var path: String

  /// A process.
  public init(id: UInt32, path: String) {
    self.id = id
    self.path = path
  }
}

/// At which authorization layers a policy asks for the processes of flows.
struct ProcessInterest: BitwiseCopyable, Sendable {
  private var bits: UInt8 = 0

  /// What the filters at work, and the callouts that they name, ask for.
  init(_ policy: FilterPolicy, _ isAtWork: (Filter) -> Bool) {
    let readers = Set(policy.callouts.filter(\.readsProcess).map(\.name))
    for filter in policy.filters where filter.layer.isFlowAuthorization && isAtWork(filter) {
      guard
        filter.conditions.contains(where: { $0.field == .aleAppID })
          || filter.action.callout.map(readers.contains) == true
      else { continue }
      bits |= Self.bit(
        filter.layer.direction == .inbound ? .input : .output, filter.layer.isIPv6)
    }
  }

  @inline(__always)
  func contains(_ hook: Hook, isIPv6: Bool) -> Bool { bits & Self.bit(hook, isIPv6) != 0 }

  var isEmpty: Bool { bits == 0 }

  @inline(__always)
  private static func bit(_ hook: Hook, _ isIPv6: Bool) -> UInt8 {
    switch hook {
    case .output: isIPv6 ? 2 : 1
    case .input: isIPv6 ? 8 : 4
    default: 0
    }
  }
}

extension CompiledPolicy {
  /// Whether the process of a flow whose first packet is at `hook` is asked for.
  @inline(__always)
  package func asksForProcess(_ hook: Hook, isIPv6: Bool) -> Bool {
    processInterest.contains(hook, isIPv6: isIPv6)
  }

  /// Whether the processes of any flows are asked for.
  package var asksForProcesses: Bool { !processInterest.isEmpty }
}
