// SPDX-License-Identifier: Apache-2.0

internal import Kernel

// Handles that stand for injections: what bears one is known wherever it is met later. What is known
// of the injection is kept beside the table, as long as the handle lives.
extension ContextTable {
  /// Has a packet that waits nowhere bear a handle that stands for its injection; contexts that it
  /// bears already go with it.
  ///
  /// It is about to be sent: from now on it is followed to its end as others are.
  package mutating func beginInjection(_ packet: inout TaggedPacket) throws(TaggingError) {
    let slot: Int
    if let known = self.slot(packet.handle) {
      slot = known
      // Its owner may have changed it.
      entries[slot].fingerprint = packet.fingerprint
      entries[slot].digest = 0
    } else {
      slot = try allocate(fingerprint: packet.fingerprint, id: packet.id, isClone: true)
      packet.handle = handle(slot)
      if isObserved { entries[slot].isDatagram = packet.isDatagram }
    }
    entries[slot].isInjected = true
    if entries[slot].associations == 0 { entries[slot].first.layer = packet.layer }
    noteSent(clone: packet.handle)
  }

  /// Notes that an injection has failed: what it bears ends as dropped.
  package mutating func endInjection(_ handle: UInt32) {
    guard let slot = slot(handle) else { return }
    entries[slot].decrement(.anywhere)
    guard !entries[slot].hasBearers else { return }
    end(slot, .dropped, .exact, layer: entries[slot].first.layer)
  }

  /// Notes that a waiting bearer leaves this engine's sight, as `finish` with an exit, but where the
  /// handle stands for an injection it lives on until it is swept.
  ///
  /// True if it does: then what was let go is to bear it.
  package mutating func release(_ handle: UInt32, layer: UInt16) -> Bool {
    guard let slot = slot(handle) else { return false }
    guard entries[slot].isInjected else {
      finish(handle, .released, .exact, layer: layer, exits: true)
      return false
    }
    emitForAll(.exitNetIO, slot, .exact, layer: layer)
    while entries[slot].associations > 0 {
      endAssociation(slot, at: 0, .released, .exact, layer: layer)
    }
    depart(handle, .anywhere)
    return true
  }

  /// Whether what bears the handle was injected by this engine.
  package func isInjected(_ handle: UInt32) -> Bool {
    slot(handle).map { entries[$0].isInjected } ?? false
  }
}
