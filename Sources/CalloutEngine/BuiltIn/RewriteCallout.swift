// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging
public import PacketViews

/// What is written over a packet's headers; nil leaves a field as it is.
public struct HeaderChange: Sendable, Hashable {
  /// The sender's address.
  public var sourceAddress: IPAddress?
  /// The receiver's address.
  public var destinationAddress: IPAddress?
  /// This host's address: the source of what leaves, the destination of what arrives.
  public var localAddress: IPAddress?
  /// The peer's address.
  public var remoteAddress: IPAddress?
  /// The sender's port.
  public var sourcePort: UInt16?
  /// The receiver's port.
  public var destinationPort: UInt16?
  /// This host's port.
  public var localPort: UInt16?
  /// The peer's port.
  public var remotePort: UInt16?
  /// Time to live or hop limit.
  public var timeToLive: UInt8?
  /// Differentiated services code point, 0 to 63.
  public var dscp: UInt8?

  /// A change of nothing.
  public init() {}

  /// Whether it speaks of local and remote, which forwarded packets do not have.
  public var needsDirection: Bool {
    localAddress != nil || remoteAddress != nil || localPort != nil || remotePort != nil
  }

  /// Source and destination for packets at `hook`; nil if they have no direction but one is needed.
  func directed(at hook: Hook) -> HeaderChange? {
    guard needsDirection else { return self }
    var change = self
    switch hook {
    case .prerouting, .input:
      change.sourceAddress = remoteAddress ?? sourceAddress
      change.destinationAddress = localAddress ?? destinationAddress
      change.sourcePort = remotePort ?? sourcePort
      change.destinationPort = localPort ?? destinationPort
    case .output, .postrouting:
      change.sourceAddress = localAddress ?? sourceAddress
      change.destinationAddress = remoteAddress ?? destinationAddress
      change.sourcePort = localPort ?? sourcePort
      change.destinationPort = remotePort ?? destinationPort
    case .forward: return nil
    }
    return change
  }

  func apply(to edit: inout PacketEdit) throws(RewriteError) {
    if let sourceAddress { try edit.setSourceAddress(sourceAddress) }
    if let destinationAddress { try edit.setDestinationAddress(destinationAddress) }
    if let sourcePort { try edit.setSourcePort(sourcePort) }
    if let destinationPort { try edit.setDestinationPort(destinationPort) }
    if let timeToLive { edit.setTimeToLive(timeToLive) }
    if let dscp { try edit.setDSCP(dscp) }
  }
}

/// Writes over fields of every packet it sees, and permits it.
public final class RewriteCallout: Callout {
  /// What is written, and what becomes of packets that cannot be rewritten.
  public struct Configuration: Sendable, Hashable {
    /// What is written.
    public var change: HeaderChange
    /// Whether a packet that cannot be rewritten is blocked; it goes on unchanged otherwise.
    public var blocksRefused: Bool

    /// A configuration.
    public init(_ change: HeaderChange, blocksRefused: Bool = false) {
      self.change = change
      self.blocksRefused = blocksRefused
    }
  }

  private let configuration: Configuration
  private let tally: PacketTally
  /// The change at each hook, so that no packet pays for finding the direction.
  private let changes: [HeaderChange?]

  init(_ configuration: Configuration, _ tally: PacketTally) {
    self.configuration = configuration
    self.tally = tally
    changes = Hook.allCases.map { configuration.change.directed(at: $0) }
  }

  /// Rewrites the packet.
  public override func classify(
    _ packet: borrowing ClassifiedPacket, _ out: inout Classification
  ) {
    tally.count(packet)
    guard rewrite(packet, &out) else {
      tally.countRefusal()
      if configuration.blocksRefused { out.block() } else { out.permit() }
      return
    }
    out.permit()
  }

  private func rewrite(
    _ packet: borrowing ClassifiedPacket, _ out: inout Classification
  ) -> Bool {
    let number = Int(packet.hook.rawValue)
    guard number < changes.count, let change = changes[number] else { return false }
    do throws(RewriteError) {
      try out.rewrite(packet) { (edit: inout PacketEdit) throws(RewriteError) in
        try change.apply(to: &edit)
      }
      return true
    } catch {
      return false
    }
  }

  /// The callout under a name, counting on `board`.
  public static func registration(
    name: String, _ configuration: Configuration, counting board: TallyBoard
  ) -> CalloutRegistration {
    CalloutRegistration(
      name: name, revision: "rewrite \(configuration)", neededBytes: .wholePacket
    ) {
      RewriteCallout(configuration, board.makeTally())
    }
  }
}
