// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
public import PacketViews

/// One packet or frame as a callout describes it to its sink; formatting is the reader's work.
public struct InspectionNote: Sendable, CustomStringConvertible {
  /// What was seen.
  public enum Contents: Sendable {
    /// A packet with these headers.
    case packet(PacketLayout)
    /// A frame with this MAC header.
    case frame(FrameLayout)
    /// An ARP packet that is not what it should be.
    case wrongARP(ARPAlert)
  }

  /// The callout that saw it.
  public var callout: String
  /// Where it was seen.
  public var layer: Layer
  /// The queue that brought it; 0 for frames.
  public var queue: UInt16 = 0
  /// Its id in the queue; 0 for frames.
  public var packetID: UInt32 = 0
  /// Its length in bytes, from the IP header on, or from the MAC header of a frame.
  public var length: UInt32
  /// The handle it bears, 0 if none.
  public var handle: UInt32
  /// What was seen.
  public var contents: Contents

  /// One line: where, what, from, to.
  public var description: String {
    switch contents {
    case .packet(let layout): "\(layer.name) \(Self.text(layout)) length \(length)"
    case .frame(let layout): "\(layer.name) \(Self.text(layout)) length \(length)"
    case .wrongARP(let alert): "\(layer.name) \(alert)"
    }
  }

  private static func text(_ layout: PacketLayout) -> String {
    let source = endpoint(layout.sourceAddress, layout.hasPorts ? layout.sourcePort : nil)
    let destination = endpoint(
      layout.destinationAddress, layout.hasPorts ? layout.destinationPort : nil)
    return "protocol \(layout.transportProtocol.rawValue) \(source) > \(destination)"
  }

  private static func text(_ layout: FrameLayout) -> String {
    let tag = layout.outerTag.map { " vlan \($0.identifier)" } ?? ""
    let problem = layout.malformation.map { " (\($0))" } ?? ""
    let type = String(layout.etherType.rawValue, radix: 16)
    guard layout.hasAddresses else { return "type 0x\(type)\(problem)" }
    return "type 0x\(type) \(layout.source) > \(layout.destination)\(tag)\(problem)"
  }

  private static func endpoint(_ address: IPAddress, _ port: UInt16?) -> String {
    guard let port else { return "\(address)" }
    return address.version == .v6 ? "[\(address)]:\(port)" : "\(address):\(port)"
  }
}

/// Counts packets and bytes, and describes some of them to a sink; decides nothing.
public final class InspectCallout: Callout {
  /// How often packets are described.
  public struct Configuration: Sendable, Hashable {
    /// At most so often over all workers; nil never.
    public var log: EventRate?
    /// After so many packets of a flow it is not asked about that flow again; nil: always.
    public var packetsPerFlow: UInt32?

    /// A configuration.
    public init(log: EventRate? = nil, packetsPerFlow: UInt32? = nil) {
      self.log = log
      self.packetsPerFlow = packetsPerFlow
    }
  }

  /// Takes a description; called on the packet path, so it must never wait.
  public typealias Sink = @Sendable (InspectionNote) -> Void

  private let name: String
  private let gate: RateGate?
  private let sink: Sink
  private let tally: PacketTally

  init(_ name: String, _ gate: RateGate?, _ tally: PacketTally, _ sink: @escaping Sink) {
    self.name = name
    self.gate = gate
    self.tally = tally
    self.sink = sink
  }

  /// Counts the packet and, if the rate allows, describes it.
  public override func classify(
    _ packet: borrowing ClassifiedPacket, _ out: inout Classification
  ) {
    tally.count(packet)
    out.goOn()
    guard let gate, gate.admits(at: out.now) else { return }
    sink(
      InspectionNote(
        callout: name, layer: packet.layer, queue: packet.metadata.queue,
        packetID: packet.metadata.packetID, length: packet.metadata.originalLength,
        handle: out.handle, contents: .packet(packet.layout)))
  }

  /// Counts the frame and, if the rate allows, describes it.
  public override func classify(
    _ frame: borrowing ClassifiedFrame, _ out: inout Classification
  ) {
    tally.count(frame)
    out.goOn()
    guard let gate, gate.admits(at: out.now) else { return }
    sink(
      InspectionNote(
        callout: name, layer: frame.layer, length: frame.metadata.originalLength,
        handle: out.handle, contents: .frame(frame.layout)))
  }

  /// The callout under a name, counting on `board` and describing to `sink`.
  public static func registration(
    name: String, _ configuration: Configuration, counting board: TallyBoard,
    sink: @escaping Sink
  ) -> CalloutRegistration {
    let gate = configuration.log.map { RateGate($0) }
    let revision = configuration.log.map { "inspect \($0.count)/\($0.period)" } ?? "inspect"
    var registration = CalloutRegistration(
      name: name, revision: "\(revision) \(configuration.packetsPerFlow ?? 0)"
    ) {
      InspectCallout(name, gate, board.makeTally(), sink)
    }
    registration.packetsPerFlow = configuration.packetsPerFlow
    return registration
  }
}
