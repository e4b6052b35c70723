// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

extension Classification {
  /// Whether the packet or frame that is classified, of a chain the selected one, was injected, and
  /// the context that was given with it where that was done with `handle`.
  ///
  /// What is the handle's own should be permitted: who injects it again is refused after
  /// `InjectionTrace.maximumHops`. Other engines' injections are known at the interface and in the
  /// direction at which they are made, or where they are of frames that this one had injected. Mirrors `FwpsQueryPacketInjectionState0`.
  public func injectionState(
    for handle: InjectionHandle
  ) -> (state: InjectionState, context: UInt64?) {
    guard let record = injectionRecord else {
      return (packet.isInjectedByOther ? .injectedByOther : .notInjected, nil)
    }
    // Where it was injected it is not met: somebody else has taken it out there and injected it.
    let isForeign = packet.isInjectedByOther || place != 0 && record.place == place
    return record.trace.state(for: handle.id, isForeign: isForeign)
  }

  /// How often, and with which handles, what is classified was injected.
  var injectionTrace: InjectionTrace { injectionRecord?.trace ?? InjectionTrace() }

  private var injectionRecord: InjectionRecords.Record? {
    guard contexts.isInjected(packet.handle) else { return nil }
    return injections.find(packet.handle)
  }

  /// Has a packet that is about to be injected at `place` bear a handle that tells of it.
  ///
  /// - Throws: `handlesExhausted`, with the packet's contexts as they were.
  package mutating func beginInjection(
    of packet: inout TaggedPacket, _ trace: InjectionTrace, at place: UInt64
  ) throws(TaggingError) {
    let known = packet.handle
    try contexts.beginInjection(&packet)
    if injections.note(packet.handle, trace, at: place, keepingThoseOf: contexts) { return }
    if known == 0 { contexts.endInjection(packet.handle) }
    packet.handle = known
    throw .handlesExhausted
  }
}
