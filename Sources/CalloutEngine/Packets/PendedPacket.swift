// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
public import PacketViews

/// A packet that waits in the kernel for its one verdict.
public typealias PendedPacket = Pended<PacketLayout, PacketMetadata>

/// A bridged frame that waits in the kernel for its one verdict.
public typealias PendedFrame = Pended<FrameLayout, FrameMetadata>

/// What waits in the kernel for its one verdict, which may come from any thread.
///
/// It cannot be copied, and deciding it consumes it. Dropped undecided, or past its deadline, it
/// gets the failure policy. Mirrors block-and-absorb followed by injection, without the copy.
public struct Pended<Layout: Sendable, Metadata: Sendable>: ~Copyable, Sendable {
  /// A packet from its IP header on, a frame from its MAC header on, as far as it was copied from the
  /// kernel.
  public let bytes: [UInt8]
  /// Where its headers lie.
  public let layout: Layout
  /// The layer at which it waits.
  public let layer: Layer
  /// What the kernel says of it.
  public let metadata: Metadata
  private let ticket: UInt64
  private let desk: any PacketDesk
  private var decision = PendedDecision.failurePolicy

  package init(
    bytes: [UInt8], layout: Layout, layer: Layer, metadata: Metadata, ticket: UInt64,
    desk: any PacketDesk
  ) {
    self.bytes = bytes
    self.layout = layout
    self.layer = layer
    self.metadata = metadata
    self.ticket = ticket
    self.desk = desk
  }

  /// Lets it go on.
  public consuming func permit() {
    decision = .permit
  }

  /// Drops it.
  public consuming func block() {
    decision = .block
  }

  /// Its context under `tag`; waits for the owning worker.
  ///
  /// Throws `wouldDeadlock` on that worker's thread: in `classify`, `pended`, `filterChanged` and
  /// `makeInstance`.
  public func retrieve(_ tag: ContextTag, removing: Bool = false) throws(TaggingError) -> UInt64 {
    let result = try desk.withContexts(ofTicket: ticket) { contexts, packet in
      Result { () throws(TaggingError) in
        try contexts.retrieve(tag, from: &packet, removing: removing)
      }
    }
    guard let result else { throw .notFound }
    return try result.get()
  }

  /// Puts a context on it; waits for the owning worker.
  ///
  /// Throws `wouldDeadlock` on that worker's thread: in `classify`, `pended`, `filterChanged` and
  /// `makeInstance`.
  public func associate(_ context: UInt64, with tag: ContextTag, notify: NotifyID = .none)
    throws(TaggingError)
  {
    let result = try desk.withContexts(ofTicket: ticket) { contexts, packet in
      Result { () throws(TaggingError) in
        try contexts.associate(context, with: tag, on: &packet, notify: notify)
      }
    }
    guard let result else { throw .notFound }
    try result.get()
  }

  deinit { desk.decide(ticket, decision) }
}
