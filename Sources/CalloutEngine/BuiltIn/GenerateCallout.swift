// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Stands at a layer for a generator of frames, which injects them there; decides nothing.
///
/// WFP wants a callout and a filter wherever frames are injected.
public final class GenerateCallout: Callout {
  /// Leaves the frame to others.
  public override func classify(
    _ frame: borrowing ClassifiedFrame, _ out: inout Classification
  ) {
    out.goOn()
  }

  /// The callout under a name.
  public static func registration(name: String) -> CalloutRegistration {
    CalloutRegistration(name: name, revision: "generate") { GenerateCallout() }
  }
}

/// What a generator has injected, counted on its callout's board.
///
/// Any thread.
public struct GeneratorTally: Sendable {
  private let tally: PacketTally

  /// A tally of a board.
  public init(on board: TallyBoard) { tally = board.makeTally() }

  /// Counts frames that were injected.
  public func count(injected frames: Int, bytes: Int) {
    tally.packets.add(UInt64(clamping: frames), ordering: .relaxed)
    tally.bytes.add(UInt64(clamping: bytes), ordering: .relaxed)
  }

  /// Counts frames that were not.
  public func count(refused frames: Int) {
    tally.refused.add(UInt64(clamping: frames), ordering: .relaxed)
  }
}
