// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging
public import PacketViews

/// What is written over a frame's MAC header; nil leaves a field as it is.
public struct FrameChange: Sendable, Hashable {
  /// What is done with VLAN tags.
  public enum Tag: Sendable, Hashable {
    /// One is put on before all others.
    case push(VLANTag)
    /// The outermost is taken off.
    case pop
    /// The outermost gets this control information.
    case set(control: UInt16)
  }

  /// The sender's address.
  public var source: MACAddress?
  /// The receiver's address.
  public var destination: MACAddress?
  /// This host's address: the sender of what leaves, the receiver of what arrives.
  public var local: MACAddress?
  /// The peer's address.
  public var remote: MACAddress?
  /// What the frame says it carries.
  public var etherType: EtherType?
  /// What is done with its VLAN tags.
  public var tag: Tag?

  /// A change of nothing.
  public init() {}

  /// Whether it speaks of local and remote, which bridged frames do not have.
  public var needsDirection: Bool { local != nil || remote != nil }

  /// The addresses that become a frame's sender or receiver at `layer`.
  func addresses(at layer: Layer) -> (source: MACAddress?, destination: MACAddress?) {
    let isInbound = layer.direction == .inbound
    return (
      (isInbound ? remote : local) ?? source, (isInbound ? local : remote) ?? destination
    )
  }

  func apply(to edit: inout FrameEdit, at layer: Layer) throws(FrameRewriteError) {
    let (source, destination) = addresses(at: layer)
    if let source { try edit.setSource(source) }
    if let destination { edit.setDestination(destination) }
    if let etherType { try edit.setEtherType(etherType) }
    switch tag {
    case .push(let tag): try edit.pushTag(tag)
    case .pop: try edit.popTag()
    case .set(let control): try edit.setTagControl(control)
    case nil: break
    }
  }
}

/// Writes over the MAC header of every frame it sees, and permits it.
public final class FrameRewriteCallout: Callout {
  /// What is written, and what becomes of frames that cannot be rewritten.
  public struct Configuration: Sendable, Hashable {
    /// What is written.
    public var change: FrameChange
    /// Whether a frame that cannot be rewritten is blocked; it goes on unchanged otherwise.
    public var blocksRefused: Bool

    /// A configuration.
    public init(_ change: FrameChange, blocksRefused: Bool = false) {
      self.change = change
      self.blocksRefused = blocksRefused
    }
  }

  private let configuration: Configuration
  private let tally: PacketTally

  init(_ configuration: Configuration, _ tally: PacketTally) {
    self.configuration = configuration
    self.tally = tally
  }

  /// Rewrites the frame.
  public override func classify(
    _ frame: borrowing ClassifiedFrame, _ out: inout Classification
  ) {
    tally.count(frame)
    do throws(FrameRewriteError) {
      let (change, layer) = (configuration.change, frame.layer)
      try out.rewrite(frame) { (edit: inout FrameEdit) throws(FrameRewriteError) in
        try change.apply(to: &edit, at: layer)
      }
      out.permit()
    } catch {
      tally.countRefusal()
      if configuration.blocksRefused { out.block() } else { out.permit() }
    }
  }

  /// The callout under a name, counting on `board`.
  public static func registration(
    name: String, _ configuration: Configuration, counting board: TallyBoard
  ) -> CalloutRegistration {
    CalloutRegistration(name: name, revision: "rewrite-mac \(configuration)") {
      FrameRewriteCallout(configuration, board.makeTally())
    }
  }
}
