// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import PacketTagging

// What callouts note on flows: a context per callout and layer, and how often they were asked.
extension FlowTable {
  /// The context of a callout at a layer, 0 if there is none.
  package func context(_ place: Int32, _ callout: Int32, _ layer: UInt16) -> UInt64 {
    let note = find(place, callout, layer)
    return note < 0 ? 0 : notes[Int(note)].value
  }

  /// Puts a context on a flow.
  package mutating func associate(
    _ context: UInt64, _ place: Int32, _ callout: Int32, _ layer: UInt16
  ) throws(FlowError) {
    guard place >= 0 else { throw .noFlow }
    guard context != 0 else { throw .invalidParameter }
    guard find(place, callout, layer) < 0 else { throw .objectNameExists }
    guard add(FlowNote(callout: callout, layer: layer, value: context), to: place) else {
      throw .tooManyContexts
    }
    contexts &+= 1
  }

  /// Takes a context off a flow; it becomes a deletion.
  package mutating func remove(
    _ place: Int32, _ callout: Int32, _ layer: UInt16
  ) throws(FlowError) {
    guard place >= 0 else { throw .noFlow }
    let note = find(place, callout, layer)
    guard note >= 0, layer != FlowNote.counting else { throw .unsuccessful }
    unlink(note, from: place)
    drop(note)
  }

  /// Counts that a callout was asked; how often that is now, 0 if it cannot be counted.
  package mutating func count(_ place: Int32, _ callout: Int32) -> UInt64 {
    let note = find(place, callout, FlowNote.counting)
    if note >= 0 {
      notes[Int(note)].value &+= 1
      return notes[Int(note)].value
    }
    return add(FlowNote(callout: callout, layer: FlowNote.counting, value: 1), to: place) ? 1 : 0
  }

  /// Notes that a callout need not be asked about the flow any more; false if that cannot be noted.
  package mutating func release(_ place: Int32, _ callout: Int32) -> Bool {
    guard place >= 0, callout >= 0, callout < 64 else { return false }
    self[place].released |= 1 << UInt64(callout)
    return true
  }

  /// How many contexts a callout has.
  package func contexts(of callout: Int32) -> Int {
    var sum = 0
    for place in 0..<placesUsed where self[Int32(place)].isUsed {
      var note = self[Int32(place)].notes
      while note >= 0 {
        if notes[Int(note)].callout == callout, notes[Int(note)].layer != FlowNote.counting {
          sum += 1
        }
        note = notes[Int(note)].next
      }
    }
    return sum
  }

  /// Takes off all contexts of a callout, which become deletions.
  package mutating func removeAll(of callout: Int32) { renumber { $0 == callout ? nil : $0 } }

  /// Gives callouts new numbers; what those note that get none goes, their contexts as deletions
  /// under their old numbers.
  package mutating func renumber(_ number: (Int32) -> Int32?) {
    for place in 0..<placesUsed where self[Int32(place)].isUsed {
      var note = self[Int32(place)].notes
      self[Int32(place)].notes = -1
      while note >= 0 {
        let next = notes[Int(note)].next
        if let number = number(notes[Int(note)].callout) {
          notes[Int(note)].callout = number
          notes[Int(note)].next = self[Int32(place)].notes
          self[Int32(place)].notes = note
        } else {
          drop(note)
        }
        note = next
      }
    }
  }

  /// Takes everything off a flow; contexts become deletions.
  mutating func dropNotes(of place: Int32) {
    var note = self[place].notes
    self[place].notes = -1
    while note >= 0 {
      let next = notes[Int(note)].next
      drop(note)
      note = next
    }
  }

  private func find(_ place: Int32, _ callout: Int32, _ layer: UInt16) -> Int32 {
    guard place >= 0 else { return -1 }
    var note = self[place].notes
    while note >= 0 {
      let held = notes[Int(note)]
      if held.callout == callout, held.layer == layer { return note }
      note = held.next
    }
    return -1
  }

  private mutating func add(_ note: FlowNote, to place: Int32) -> Bool {
    guard place >= 0 else { return false }
    let number: Int32
    if freeNote >= 0 {
      number = freeNote
      freeNote = notes[Int(number)].next
    } else if notes.append(note) {
      number = Int32(notes.count - 1)
    } else {
      return false
    }
    notes[Int(number)] = note
    notes[Int(number)].next = self[place].notes
    self[place].notes = number
    return true
  }

  private mutating func unlink(_ note: Int32, from place: Int32) {
    if self[place].notes == note {
      self[place].notes = notes[Int(note)].next
      return
    }
    var before = self[place].notes
    while before >= 0, notes[Int(before)].next != note { before = notes[Int(before)].next }
    if before >= 0 { notes[Int(before)].next = notes[Int(note)].next }
  }

  /// Frees a note that is on no flow any more.
  private mutating func drop(_ note: Int32) {
    let held = notes[Int(note)]
    if held.layer != FlowNote.counting, let layer = Layer(rawValue: held.layer) {
      contexts &-= 1
      deletions.append(FlowDeletion(callout: held.callout, layer: layer, context: held.value))
    }
    notes[Int(note)].next = freeNote
    freeNote = note
  }
}
