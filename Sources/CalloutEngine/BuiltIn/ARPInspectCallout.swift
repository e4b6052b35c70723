// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging
public import PacketViews

/// What is wrong with an ARP packet.
public enum ARPViolation: String, Sendable, Hashable {
  /// The sender that it names is not the frame's.
  case senderIsNotSource = "sender is not the frame's source"
  /// The answer's target is not the frame's receiver.
  case targetIsNotDestination = "target is not the frame's destination"
  /// The sender names a group, or nobody.
  case senderIsNoStation = "sender is no station"
  /// The IPv4 address belongs to somebody else.
  case addressIsTaken = "address belongs to another"
  /// The sender sends too often.
  case tooMany = "too many"
  /// It is not of IPv4 over Ethernet, or cut.
  case unreadable = "unreadable"
}

/// One ARP packet that was found wrong.
public struct ARPAlert: Sendable, Hashable, CustomStringConvertible {
  /// What is wrong with it.
  public var violation: ARPViolation
  /// The frame's sender.
  public var source: MACAddress
  /// The Ethernet address that the packet names as its sender.
  public var sender: MACAddress
  /// The IPv4 address that it claims.
  public var address: IPAddress
  /// Whose that is, if somebody's.
  public var owner: MACAddress?

  /// One line.
  public var description: String {
    let owner = owner.map { ", which is \($0)'s" } ?? ""
    return "ARP \(violation.rawValue): \(source) says that \(address) is \(sender)\(owner)"
  }
}

/// Inspects ARP: whether senders are who they say, and claim addresses that are theirs.
///
/// What is right is left to other filters. Each interface's frames are decided by one worker, so what
/// one instance learns is all there is to know of an interface.
public final class ARPInspectCallout: Callout {
  /// What is known, what is learned, and what becomes of the rest.
  public struct Configuration: Sendable, Hashable {
    /// Addresses whose owners are known, on every interface and VLAN.
    public var bindings: [ARPBinding]
    /// Whether owners of other addresses are learned from what is heard first.
    public var learns: Bool
    /// How many are learned at most.
    public var capacity: Int
    /// How long one is kept after it was heard of last.
    public var keeps: Duration
    /// How many ARP packets each sender may send; nil any number.
    public var rate: EventRate?
    /// Whether wrong packets are blocked; they are only told of otherwise.
    public var blocks: Bool
    /// How often wrong packets are told of at most; nil never.
    public var log: EventRate?

    /// A configuration.
    public init(
      bindings: [ARPBinding] = [], learns: Bool = true, capacity: Int = 4096,
      keeps: Duration = .seconds(300), rate: EventRate? = nil, blocks: Bool = true,
      log: EventRate? = nil
    ) {
      self.bindings = bindings
      self.learns = learns
      self.capacity = capacity
      self.keeps = keeps
      self.rate = rate
      self.blocks = blocks
      self.log = log
    }
  }

  private let name: String
  private let configuration: Configuration
  private let known: KnownBindings
  private var learned: LearnedBindings
  private var rates: SenderRates?
  private let gate: RateGate?
  private let sink: InspectCallout.Sink
  private let tally: PacketTally

  init(
    _ name: String, _ configuration: Configuration, _ gate: RateGate?, _ tally: PacketTally,
    _ sink: @escaping InspectCallout.Sink
  ) {
    self.name = name
    self.configuration = configuration
    self.gate = gate
    self.tally = tally
    self.sink = sink
    known = KnownBindings(configuration.bindings)
    learned = LearnedBindings(
      capacity: configuration.learns ? configuration.capacity : 0,
      lifetime: Classification.nanoseconds(configuration.keeps))
    rates = configuration.rate.map { SenderRates($0) }
  }

  /// Inspects a frame that carries ARP; leaves all others to other filters.
  public override func classify(
    _ frame: borrowing ClassifiedFrame, _ out: inout Classification
  ) {
    tally.count(frame)
    out.goOn()
    guard frame.layout.etherType == .arp, let alert = inspect(frame, at: out.now) else { return }
    tally.countRefusal()
    if configuration.blocks { out.block() }
    guard let gate, gate.admits(at: out.now) else { return }
    sink(
      InspectionNote(
        callout: name, layer: frame.layer, length: frame.metadata.originalLength,
        handle: out.handle, contents: .wrongARP(alert)))
  }

  private func inspect(_ frame: borrowing ClassifiedFrame, at now: UInt64) -> ARPAlert? {
    let source = frame.layout.source
    var alert = ARPAlert(
      violation: .unreadable, source: source, sender: source, address: IPAddress(v4: 0))
    if rates != nil, rates?.admits(source, at: now) == false {
      alert.violation = .tooMany
      return alert
    }
    guard let arp = try? ARPPacket(frame.network) else { return alert }
    alert.sender = arp.senderHardwareAddress
    alert.address = arp.senderAddress
    if arp.senderHardwareAddress.isMulticast || arp.senderHardwareAddress.rawValue == 0 {
      alert.violation = .senderIsNoStation
    } else if arp.senderHardwareAddress != source {
      alert.violation = .senderIsNotSource
    } else if arp.isReply, arp.targetHardwareAddress != frame.layout.destination,
      !frame.layout.destination.isMulticast
    {
      alert.violation = .targetIsNotDestination
    } else if let owner = otherOwner(arp.senderAddress, source, frame, at: now) {
      alert.violation = .addressIsTaken
      alert.owner = owner
    } else {
      return nil
    }
    return alert
  }

  /// Whose the address is, if not the sender's; a probe claims none.
  private func otherOwner(
    _ address: IPAddress, _ sender: MACAddress, _ frame: borrowing ClassifiedFrame, at now: UInt64
  ) -> MACAddress? {
    guard address != IPAddress(v4: 0) else { return nil }
    if let owner = known.owner(of: address) { return owner == sender ? nil : owner }
    guard configuration.learns else { return nil }
    // A VLAN of an interface is a segment of its own.
    let segment =
      frame.metadata.interfaceIndex << 12 | UInt32(frame.layout.tagControl & 0xfff)
    switch learned.hear(address, in: segment, from: sender, at: now) {
    case .conflict(let owner): return owner
    case .same, .learned, .full: return nil
    }
  }

  /// The callout under a name, counting on `board` and telling `sink` of what is wrong.
  ///
  /// Wrong packets are counted as refused.
  public static func registration(
    name: String, _ configuration: Configuration, counting board: TallyBoard,
    sink: @escaping InspectCallout.Sink
  ) -> CalloutRegistration {
    let gate = configuration.log.map { RateGate($0) }
    return CalloutRegistration(name: name, revision: "arp-inspect \(configuration)") {
      ARPInspectCallout(name, configuration, gate, board.makeTally(), sink)
    }
  }
}
