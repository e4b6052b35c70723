// SPDX-License-Identifier: Apache-2.0

/// What happened to a tagged packet, under WFP's number.
///
/// Mirrors `FWPS_NET_BUFFER_LIST_EVENT_TYPE0`.
public enum LifeEventKind: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  /// It entered the IP stack.
  case enteredNetIO = 0
  /// The stack cloned it.
  case clonedByNetIO = 1
  /// A callout cloned it.
  case clonedViaAPI = 2
  /// The stack duplicated it.
  case duplicatedByNetIO = 3
  /// It is about to leave the stack.
  case exitNetIO = 4
  /// The association has ended; the last event of each.
  case contextRemoved = 5
  /// A send over the upper device layer completed.
  case sendComplete = 6
  /// A receive over the upper device layer completed.
  case receiveComplete = 7
  /// A send over the lower device layer completed.
  case nativeSendComplete = 8
  /// A receive over the lower device layer completed.
  case nativeReceiveComplete = 9
  /// Virtual-switch ingress completed.
  case vSwitchIngressComplete = 10
  /// Virtual-switch egress completed.
  case vSwitchEgressComplete = 11
  /// A device cloned it.
  case clonedByNDIS = 12
  /// It is a fragment that was put together with others.
  case reassembledFragment = 13
  /// Its fragments have been put together.
  case reassemblyComplete = 14

  /// WFP's name in lower case, as in JSON.
  public var name: String {
    switch self {
    case .enteredNetIO: "entered_netio"
    case .clonedByNetIO: "cloned_by_netio"
    case .clonedViaAPI: "cloned_via_api"
    case .duplicatedByNetIO: "duplicated_by_netio"
    case .exitNetIO: "exit_netio"
    case .contextRemoved: "context_removed"
    case .sendComplete: "send_complete"
    case .receiveComplete: "receive_complete"
    case .nativeSendComplete: "native_send_complete"
    case .nativeReceiveComplete: "native_receive_complete"
    case .vSwitchIngressComplete: "vswitch_ingress_complete"
    case .vSwitchEgressComplete: "vswitch_egress_complete"
    case .clonedByNDIS: "cloned_by_ndis"
    case .reassembledFragment: "reassembled_fragment"
    case .reassemblyComplete: "reassembly_complete"
    }
  }
}

/// Why an association ended.
public enum RemovalReason: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  /// Not an end.
  case none = 0
  /// A verdict dropped the packet.
  case blocked
  /// A device took it.
  case transmitted
  /// It reached a socket.
  case delivered
  /// The kernel dropped it.
  case dropped
  /// It was merged into another packet.
  case reassembled
  /// It left the network namespace.
  case leftNamespace
  /// It was let go past the last hook of ours that it could meet.
  case released
  /// Somebody asked for it.
  case removedByCaller
  /// The context went over to a copy.
  case movedToClone
  /// The tag does not follow copies.
  case detached
  /// The kernel emptied the queue in which the packet waited.
  case queueFlushed
  /// The callout that owned the tag is gone, or the engine stopped.
  case ownerGone
  /// It waited past its deadline.
  case expired
  /// It was let go and never met again.
  case lost

  /// The name in JSON.
  public var name: String {
    switch self {
    case .none: "none"
    case .blocked: "blocked"
    case .transmitted: "transmitted"
    case .delivered: "delivered"
    case .dropped: "dropped"
    case .reassembled: "reassembled"
    case .leftNamespace: "left_namespace"
    case .released: "released"
    case .removedByCaller: "removed_by_caller"
    case .movedToClone: "moved_to_clone"
    case .detached: "detached"
    case .queueFlushed: "queue_flushed"
    case .ownerGone: "owner_gone"
    case .expired: "expired"
    case .lost: "lost"
    }
  }

  /// Of several bearers' ends, the highest is the association's reason.
  @inlinable
  package var rank: UInt8 {
    switch self {
    case .delivered: 4
    case .transmitted: 3
    case .released: 2
    case .dropped, .blocked, .queueFlushed, .expired: 1
    default: 0
    }
  }
}

/// How an event is known.
public enum Certainty: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  /// The kernel said so of this very packet.
  case exact = 0
  /// An event bore the packet's handle.
  case observed = 1
  /// Concluded: a deadline passed, an id was missing.
  case inferred = 2

  /// The name in JSON.
  public var name: String {
    switch self {
    case .exact: "exact"
    case .observed: "observed"
    case .inferred: "inferred"
    }
  }
}

/// One event in the life of one association.
public struct LifeEvent: Sendable, BitwiseCopyable {
  /// CLOCK_MONOTONIC in nanoseconds.
  public var time: UInt64 = 0
  /// The tag under which the context was put on.
  public var tag = ContextTag(rawValue: 0)
  /// The context, as it was given.
  public var context: UInt64 = 0
  /// The handle that bears the context.
  public var handle: UInt32 = 0
  /// The copy's or clone's handle, 0 if it has none.
  public var otherHandle: UInt32 = 0
  /// The packet's id in its queue, 0 where there is none.
  public var packetID: UInt32 = 0
  /// The copy's id, 0 where there is none.
  public var otherPacketID: UInt32 = 0
  /// The notify function that asked for it, 0 if none.
  public var notify = NotifyID.none
  /// The queue at which it happened.
  public var queue: UInt16 = 0
  /// The layer at which the context was put on.
  public var associatedAt: UInt16 = 0
  /// The layer at which it happened.
  public var layer: UInt16 = 0
  /// What happened.
  public var kind = LifeEventKind.exitNetIO
  /// Why the association ended, for `contextRemoved`.
  public var reason = RemovalReason.none
  /// How it is known.
  public var certainty = Certainty.exact
  /// A program read the packet from its socket, as far as was seen then.
  public var isRead = false
  /// The device that took the packet, 0 where there is none.
  public var device: UInt32 = 0
  /// Why the kernel dropped the packet: a value of `enum skb_drop_reason`, for `dropped`.
  public var dropReason: UInt32 = 0
  /// The low half of the address of the code that dropped it.
  public var place: UInt32 = 0

  /// An event with nothing set.
  public init() {}
}

/// A registered notify function; `none` asks for no calls.
public struct NotifyID: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
  /// The number; 0 is none.
  public let rawValue: UInt32
  /// From a number.
  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// No notify function.
  public static let none = NotifyID(rawValue: 0)
}
