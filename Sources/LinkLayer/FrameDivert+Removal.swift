// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// How far the taking down of a divert has come.
struct Removal {
  var deadline: UInt64 = 0
  var quietSince: UInt64 = 0
  /// What the program had diverted at the last look.
  var diverted: UInt64 = 0
  var isRingEmpty = true
  /// The kernel has let go: what is found in the ring from now on is all.
  var hasClosed = false
  /// The deadline has passed: frames that wait are overtaken by those that pass.
  var wasForced = false
  /// The fewest frames that were on their way back since `windowStart`.
  var fewestReturning: UInt64 = .max
  var windowStart: UInt64 = 0
}

extension FrameDivert {
  /// How long to wait for a moment at which no frame is under way.
  private static let patience: UInt64 = 1_000_000_000
  /// How long nothing may be diverted before the program goes.
  private static let quietTime: UInt64 = 1_000_000
  /// Frames that have been on their way back for this long have strayed.
  private static let strayTime: UInt64 = 100_000_000

  /// Begins to take the divert down so that no frame is lost, doubled or overtaken.
  ///
  /// Go on to receive and flush, with `continueRemoval` after each batch, until that says it is done.
  public mutating func beginRemoval() {
    guard phase == .attached else { return }
    let now = MonotonicClock.now()
    removal = Removal()
    removal.deadline = now &+ Self.patience
    removal.quietSince = now
    removal.windowStart = now
    removal.diverted = port.state[.diverted]
    phase = .draining
    // The program passes frames as soon as none is under way, so none can overtake another.
    port.state.set(.drain)
  }

  /// Goes on with it; true when the divert is detached and everything that it took is decided.
  ///
  /// To be called every millisecond or so.
  public mutating func continueRemoval() -> Bool {
    switch phase {
    case .detached: return true
    case .attached: return false
    case .draining:
      noteLosses()
      drain(MonotonicClock.now())
    case .closing where removal.hasClosed && removal.isRingEmpty && batch.count == 0: finish()
    case .closing:
      noteLosses()
      if !removal.hasClosed, port.hasClosed {
        removal.hasClosed = true
        removal.isRingEmpty = false
      }
    }
    return phase == .detached
  }

  /// Asks the kernel for frames that found no room in the ring.
  public mutating func noteLosses() {
    let before = ring.ringLosses
    ring.noteLosses()
    noteHandled(ring.ringLosses &- before)
  }

  private mutating func drain(_ now: UInt64) {
    let diverted = port.state[.diverted]
    if diverted != removal.diverted || !port.state.isIdle || batch.count > 0 {
      removal.diverted = diverted
      removal.quietSince = now
    }
    lookForStrays(now)
    if now &- removal.quietSince >= Self.quietTime {
      // The program stays as it is until it goes: one that passed all would let frames overtake.
      close()
    } else if now >= removal.deadline {
      port.state.set(.pass)
      removal.wasForced = true
      tally.forcedRemovals &+= 1
      close()
    }
  }

  /// Frames that went back to a device that is down never come to its program, and would keep it
  /// waiting.
  private mutating func lookForStrays(_ now: UInt64) {
    let returning = port.state[.sent] &- port.state[.returned]
    removal.fewestReturning = min(removal.fewestReturning, returning)
    guard now &- removal.windowStart >= Self.strayTime else { return }
    if removal.fewestReturning > 0 {
      // Less than nothing, if the kernel took what it said it refused.
      if removal.fewestReturning < 1 << 63 { tally.strayed &+= removal.fewestReturning }
      port.state.add(0 &- removal.fewestReturning, to: .sent)
    }
    removal.fewestReturning = .max
    removal.windowStart = now
  }

  private mutating func close() {
    phase = .closing
    port.close()
  }

  private mutating func finish() {
    noteLosses()
    tally.unaccounted &+= port.state[.landed] &- handled
    port.finish()
    handled = port.state[.handled]
    removal = Removal()
    phase = .detached
  }
}
