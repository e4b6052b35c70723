// SPDX-License-Identifier: Apache-2.0

public import PacketTagging

/// How much of each packet a callout reads.
public enum NeededBytes: Sendable, Hashable {
  /// The headers up to the transport's, 128 bytes.
  case headers
  /// So many bytes from the IP header on.
  case bytes(UInt32)
  /// Everything; needed for rewriting and cloning.
  case wholePacket

  /// The number of bytes.
  public var count: UInt32 {
    switch self {
    case .headers: 128
    case .bytes(let count): max(128, count)
    case .wholePacket: .max
    }
  }
}

/// What a callout is told about a filter that names it.
public enum FilterChange: Sendable, Hashable {
  /// It is about to be added; throwing prevents the whole policy.
  case added(Filter)
  /// It has been deleted.
  case deleted(Filter)
}

/// How a callout takes the frames that one pass over a ring has found.
public enum FrameForm: UInt8, Sendable, BitwiseCopyable {
  /// One by one.
  case single
  /// As a chain with one decision for all of it; then clone and reference fail.
  case chain
  /// As a vector with a decision for each frame; goes beyond WFP.
  case vector
}

/// Code that classifies packets: subclass it and override what you need.
///
/// Mirrors `FWPS_CALLOUT2`. Each worker thread has its own instance, made by the registration's
/// factory, so an instance's state needs no locks; what several instances share is yours to guard.
open class Callout {
  /// A callout.
  public init() {}

  /// Decides one packet, or only looks at it.
  ///
  /// Mirrors `classifyFn`.
  ///
  /// Runs on the worker's thread between two packets: never block here. `packet` cannot be kept.
  open func classify(_ packet: borrowing ClassifiedPacket, _ out: inout Classification) {}

  /// Decides one frame, or only looks at it.
  ///
  /// Mirrors `classifyFn` at the MAC layers.
  ///
  /// Runs on the worker's thread between two frames: never block here. `frame` cannot be kept.
  open func classify(_ frame: borrowing ClassifiedFrame, _ out: inout Classification) {}

  /// Decides a flow that is established, or learns of one that has ended; a block at the former ends
  /// the flow.
  ///
  /// Mirrors `classifyFn` at the flow layers. Runs on the worker's thread between two packets, after
  /// the fact: the first packets may have passed.
  open func classify(_ flow: ClassifiedFlow, _ out: inout Classification) {}

  /// Whether the callout takes frames one by one, as chains, or as vectors.
  ///
  /// Mirrors whether `classifyFn2` can handle chains of `NET_BUFFER_LIST`. Asked once for each policy.
  open var frameForm: FrameForm { .single }

  /// Decides several frames at once; called where `frameForm` is `.chain`, and the registration
  /// `allowsL2BatchClassify`, or where it is `.vector`.
  ///
  /// Mirrors `classifyFn2`.
  open func classify(chain: borrowing FrameChain, _ out: inout Classification) {}

  /// Takes over a packet for which `classify` called `pend` and which no filter blocked after.
  ///
  /// Decide it when you can, from any thread; dropping it applies the failure policy.
  open func pended(_ packet: consuming PendedPacket) {}

  /// Takes over a bridged frame for which `classify` called `pend` and which no filter blocked after.
  ///
  /// Decide it when you can, from any thread; dropping it applies the failure policy.
  open func pended(_ frame: consuming PendedFrame) {}

  /// Learns of filters that name the callout.
  ///
  /// Mirrors `notifyFn`.
  ///
  /// Called on the instance of the first worker. Throwing on `.added` refuses the new policy.
  open func filterChanged(_ change: FilterChange) throws {}

  /// Learns of filters that name the callout, with the provider context that an added one names.
  ///
  /// Override this one or the other.
  ///
  /// Mirrors `notifyFn` with `FWPS_FILTER2.providerContext`.
  open func filterChanged(_ change: FilterChange, with context: ProviderContext?) throws {
    try filterChanged(change)
  }

  /// Learns that a context has left its flow: the flow has ended, the context was removed, or the
  /// bridge stops.
  ///
  /// Called once for each context, on the worker that held it. Mirrors `flowDeleteFn`.
  open func flowDeleted(layer: Layer, flowContext: UInt64) {}
}

/// A callout under a name that filters can give.
///
/// Mirrors `FwpsCalloutRegister2` and `FwpmCalloutAdd0` in one.
public struct CalloutRegistration: Sendable {
  /// The name, unique in a policy.
  public var name: String
  /// Two registrations of the same name and revision are the same callout: a policy change keeps
  /// the instances.
  ///
  /// Give a new revision to have new ones made.
  public var revision: String
  /// How much of each packet it reads.
  public var neededBytes: NeededBytes
  /// Whether it reads `userID` or `groupID` of the metadata, which cost the kernel a look-up.
  public var readsSocketOwner: Bool
  /// Whether it reads `Classification.process` at the authorization layers: a flow's first packet is
  /// held there until the process is found, a few milliseconds.
  public var readsProcess = false
  /// Whether it reads the conntrack values of the metadata, where the kernel can send them.
  public var readsConntrack: Bool
  /// Whether it may be given chains of frames, which its `frameForm` must want too.
  ///
  /// Mirrors `FWP_CALLOUT_FLAG_ALLOW_L2_BATCH_CLASSIFY`.
  public var allowsL2BatchClassify: Bool
  /// Whether it uses the flows of packets: their contexts, `permitRestOfFlow`, `abortFlow`.
  ///
  /// They are looked up only where a callout of the policy wants that.
  public var followsFlows = false
  /// Whether it is asked only about packets of flows that bear a context of it for their layer.
  ///
  /// Mirrors `FWP_CALLOUT_FLAG_CONDITIONAL_ON_FLOW`.
  public var isConditionalOnFlow = false
  /// It releases each flow after it was asked so often about it, as by `permitRestOfFlow`; nil never.
  ///
  /// For callouts that look at the beginning of flows only. Of a policy's callouts the first 64 can
  /// release flows.
  public var packetsPerFlow: UInt32?
  /// The provider that it belongs to, nil for none.
  public var provider: String?
  /// The tags that belong to it; their contexts end when the callout is taken out of the policy.
  public var tags: [ContextTag]
  /// Whether packets' flows must be looked up for it.
  package var needsFlows: Bool { followsFlows || isConditionalOnFlow || packetsPerFlow != nil }
  /// Makes one instance for each worker.
  public var makeInstance: @Sendable () -> Callout

  /// A registration.
  public init(
    name: String, revision: String = "", neededBytes: NeededBytes = .headers,
    readsSocketOwner: Bool = false, readsConntrack: Bool = false,
    allowsL2BatchClassify: Bool = false, provider: String? = nil, tags: [ContextTag] = [],
    makeInstance: @escaping @Sendable () -> Callout
  ) {
    self.name = name
    self.revision = revision
    self.neededBytes = neededBytes
    self.readsSocketOwner = readsSocketOwner
    self.readsConntrack = readsConntrack
    self.allowsL2BatchClassify = allowsL2BatchClassify
    self.provider = provider
    self.tags = tags
    self.makeInstance = makeInstance
  }
}
