// SPDX-License-Identifier: Apache-2.0

/// Permits every packet it is asked about.
public final class PermitCallout: Callout {
  private let tally: PacketTally

  init(_ tally: PacketTally) { self.tally = tally }

  /// Permits.
  public override func classify(
    _ packet: borrowing ClassifiedPacket, _ out: inout Classification
  ) {
    tally.count(packet)
    out.permit()
  }

  /// Permits.
  public override func classify(
    _ frame: borrowing ClassifiedFrame, _ out: inout Classification
  ) {
    tally.count(frame)
    out.permit()
  }

  /// The callout under a name, counting on `board`.
  public static func registration(name: String, counting board: TallyBoard) -> CalloutRegistration {
    CalloutRegistration(name: name, revision: "permit") { PermitCallout(board.makeTally()) }
  }
}

/// Blocks every packet it is asked about; unlike a filter's own block, a lower sublayer can permit.
public final class BlockCallout: Callout {
  private let tally: PacketTally

  init(_ tally: PacketTally) { self.tally = tally }

  /// Blocks.
  public override func classify(
    _ packet: borrowing ClassifiedPacket, _ out: inout Classification
  ) {
    tally.count(packet)
    out.block()
  }

  /// Blocks.
  public override func classify(
    _ frame: borrowing ClassifiedFrame, _ out: inout Classification
  ) {
    tally.count(frame)
    out.block()
  }

  /// The callout under a name, counting on `board`.
  public static func registration(name: String, counting board: TallyBoard) -> CalloutRegistration {
    CalloutRegistration(name: name, revision: "block") { BlockCallout(board.makeTally()) }
  }
}

/// Keeps every packet waiting for a time, then permits or blocks it.
public final class DelayCallout: Callout {
  /// What is done after which time.
  public struct Configuration: Sendable, Hashable {
    /// How long packets wait; at most an hour.
    public var time: Duration
    /// Whether they are permitted after that; blocked otherwise.
    public var thenPermits: Bool

    /// A delay.
    public init(for time: Duration, thenPermits: Bool = true) {
      self.time = time
      self.thenPermits = thenPermits
    }
  }

  private let configuration: Configuration
  private let tally: PacketTally

  init(_ configuration: Configuration, _ tally: PacketTally) {
    self.configuration = configuration
    self.tally = tally
  }

  /// Holds the packet.
  public override func classify(
    _ packet: borrowing ClassifiedPacket, _ out: inout Classification
  ) {
    tally.count(packet)
    out.hold(for: configuration.time, thenPermit: configuration.thenPermits)
  }

  /// Holds the frame: it is absorbed, and injected again when its time has come.
  public override func classify(
    _ frame: borrowing ClassifiedFrame, _ out: inout Classification
  ) {
    tally.count(frame)
    out.hold(for: configuration.time, thenPermit: configuration.thenPermits)
  }

  /// The callout under a name, counting on `board`.
  public static func registration(
    name: String, _ configuration: Configuration, counting board: TallyBoard
  ) -> CalloutRegistration {
    let revision = "delay \(configuration.time) permit=\(configuration.thenPermits)"
    return CalloutRegistration(name: name, revision: revision) {
      DelayCallout(configuration, board.makeTally())
    }
  }
}
