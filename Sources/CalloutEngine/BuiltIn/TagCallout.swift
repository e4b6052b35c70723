// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
internal import Synchronization

/// Puts a context on every packet it sees and leaves the decision to others.
public final class TagCallout: Callout {
  /// Which context a packet gets.
  public enum Context: Sendable, Hashable {
    /// This number.
    case fixed(UInt64)
    /// 1, 2, 3, ... over all workers.
    case sequence
    /// A hash of the packet's directional 5-tuple; of frames without IP, of their addresses.
    case flowHash
  }

  /// What is put on packets.
  public struct Configuration: Sendable, Hashable {
    /// The context.
    public var context: Context
    /// The tag under which it is put.
    public var tag: ContextTag
    /// Who is told of the contexts' lives.
    public var notify: NotifyID
    /// After so many packets of a flow it is not asked about that flow again; nil: always.
    public var packetsPerFlow: UInt32?

    /// A configuration.
    public init(
      context: Context, tag: ContextTag, notify: NotifyID = .none, packetsPerFlow: UInt32? = nil
    ) {
      self.context = context
      self.tag = tag
      self.notify = notify
      self.packetsPerFlow = packetsPerFlow
    }
  }

  /// The running number that all instances share.
  final class Sequence: Sendable {
    private let last = Atomic<UInt64>(0)
    func next() -> UInt64 { last.add(1, ordering: .relaxed).newValue }
  }

  private let configuration: Configuration
  private let sequence: Sequence
  private let tally: PacketTally

  init(_ configuration: Configuration, _ sequence: Sequence, _ tally: PacketTally) {
    self.configuration = configuration
    self.sequence = sequence
    self.tally = tally
  }

  /// Tags the packet.
  ///
  /// A packet that has the tag already, from an earlier layer, keeps its context.
  public override func classify(
    _ packet: borrowing ClassifiedPacket, _ out: inout Classification
  ) {
    tally.count(packet)
    out.goOn()
    guard !out.bears(configuration.tag) else { return }
    associate(needsFlow ? packet.flowHash : 0, &out)
  }

  /// Tags the frame; one that has the tag already keeps its context.
  public override func classify(
    _ frame: borrowing ClassifiedFrame, _ out: inout Classification
  ) {
    tally.count(frame)
    out.goOn()
    guard !out.bears(configuration.tag) else { return }
    associate(needsFlow ? frame.flowHash : 0, &out)
  }

  private var needsFlow: Bool { configuration.context == .flowHash }

  private func associate(_ flowHash: UInt64, _ out: inout Classification) {
    let context: UInt64 =
      switch configuration.context {
      case .fixed(let number): number
      case .sequence: sequence.next()
      case .flowHash: flowHash
      }
    do {
      try out.associate(context, with: configuration.tag, notify: configuration.notify)
    } catch {
      tally.countRefusal()
    }
  }

  /// The callout under a name, counting on `board`.
  ///
  /// The tag's contexts end when it is taken out of the policy.
  public static func registration(
    name: String, _ configuration: Configuration, counting board: TallyBoard
  ) -> CalloutRegistration {
    let sequence = Sequence()
    let tag = configuration.tag
    let revision =
      "tag \(configuration.context) \(tag.rawValue) notify=\(configuration.notify.rawValue)"
      + " \(configuration.packetsPerFlow ?? 0)"
    var registration = CalloutRegistration(name: name, revision: revision, tags: [tag]) {
      TagCallout(configuration, sequence, board.makeTally())
    }
    registration.packetsPerFlow = configuration.packetsPerFlow
    return registration
  }
}
