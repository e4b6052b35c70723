// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
public import PacketViews

/// One packet as `InspectCallout` describes it to its sink; formatting is the reader's work.
public struct InspectionNote: Sendable, CustomStringConvertible {
  /// The callout that saw it.
  public var callout: String
  /// Where it was seen.
  public var layer: Layer
  /// The queue that brought it.
  public var queue: UInt16
  /// Its id in the queue.
  public var packetID: UInt32
  /// Its length in bytes, from the IP header on.
  public var length: UInt32
  /// The handle it bears, 0 if none.
  public var handle: UInt32
  /// Its headers.
  public var layout: PacketLayout

  /// One line: where, what, from, to.
  public var description: String {
    let source = Self.endpoint(layout.sourceAddress, layout.hasPorts ? layout.sourcePort : nil)
    let destination = Self.endpoint(
      layout.destinationAddress, layout.hasPorts ? layout.destinationPort : nil)
    return "\(layer.name) protocol \(layout.transportProtocol.rawValue) "
      + "\(source) > \(destination) length \(length)"
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

    /// A configuration.
    public init(log: EventRate? = nil) { self.log = log }
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
        handle: out.handle, layout: packet.layout))
  }

  /// The callout under a name, counting on `board` and describing to `sink`.
  public static func registration(
    name: String, _ configuration: Configuration, counting board: TallyBoard,
    sink: @escaping Sink
  ) -> CalloutRegistration {
    let gate = configuration.log.map { RateGate($0) }
    let revision = configuration.log.map { "inspect \($0.count)/\($0.period)" } ?? "inspect"
    return CalloutRegistration(name: name, revision: revision) {
      InspectCallout(name, gate, board.makeTally(), sink)
    }
  }
}
