// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import LinkLayer
internal import NetfilterQueue
internal import PacketTagging
internal import Synchronization

/// One queue's thread: it receives, classifies and decides until it is told to stop.
final class Worker: Sendable {
  let mailbox: Mailbox
  let clock: EventClock
  private let thread: DedicatedThread

  /// Starts the thread, which takes over the state.
  init(
    name: String, mailbox: Mailbox, clock: EventClock, stream: EventStream,
    state: consuming sending WorkerState
  ) throws(SystemError) {
    self.mailbox = mailbox
    self.clock = clock
    let box = StateBox(state)
    thread = try DedicatedThread(name: name) {
      guard var state = box.take() else { return }
      state.run(mailbox: mailbox, clock: clock, stream: stream)
    }
  }

  /// Waits for the thread's end.
  func join() { thread.join() }

  /// Carries a value that cannot be copied into the thread's closure.
  private final class StateBox: Sendable {
    private let state: Mutex<WorkerState?>
    init(_ state: consuming sending WorkerState) { self.state = Mutex(state) }
    func take() -> sending WorkerState? { state.withLock { $0.take() } }
  }
}

extension WorkerState {
  /// How often contexts are swept and flushes are looked for, in nanoseconds.
  private static let housekeepingInterval: UInt64 = 100_000_000

  fileprivate mutating func run(mailbox: Mailbox, clock: EventClock, stream: EventStream) {
    mailbox.own()
    var poller = makePoller(mailbox)
    var received = socket.makeReceiveBuffer()
    var nextHousekeeping: UInt64 = 0
    var pace = FramePace()
    while phase != .stopped {
      startBatch(clock)
      for command in mailbox.collect() { command(&self) }
      // What comes after the queue was given back is the kernel's.
      if phase == .stopped { break }
      expirePended()
      if socket.outgrows(received) { received = socket.makeReceiveBuffer() }
      releaseFrames()
      let frames = serveFrames()
      let count = serveBatch(&received) + frames
      tendPorts()
      // Before the next wait, which would keep the sockets of ports that are being closed.
      if portsChanged {
        portsChanged = false
        poller = makePoller(mailbox)
      }
      let isFollowing = out.contexts.followDepartures()
      if heads.isKept { showDrops() }
      let isSweeping = out.contexts.sweep() || isFollowing
      if now >= nextHousekeeping {
        nextHousekeeping = now &+ Self.housekeepingInterval
        if count == 0 { checkForFlush() }
        if out.followsFlows { endIdleFlows() }
      }
      if out.contexts.publishEvents() { stream.wake() }
      if count == 0, !isSweeping {
        // What comes before the next look is told by it, however late that is.
        if let look = out.contexts.nextLook { clock.begin(max(look, now)) } else { clock.rest() }
        poller.wait(milliseconds: patience(nextHousekeeping))
      } else if pace.note(frames, at: now), frames < FrameDivert.batchSize {
        MonotonicClock.sleep(nanoseconds: FramePace.interval)
      }
    }
    for command in mailbox.close() { command(&self) }
    out.contexts.endAll(.ownerGone)
    // The stream outlives the workers, so what is left finds room. This clock must not hold it back.
    clock.rest()
    while out.contexts.eventBacklog > 0 {
      stream.wake()
      MonotonicClock.sleep(nanoseconds: 1_000_000)
      _ = out.contexts.publishEvents()
    }
    clock.rest()
    stream.wake()
  }

  private func makePoller(_ mailbox: Mailbox) -> Poller {
    Poller([socket.pollDescriptor, mailbox.wakeUp.number] + ports.map(\.pollDescriptor))
  }

  private mutating func startBatch(_ clock: EventClock) {
    clock.begin(now)
    now = MonotonicClock.now()
    clock.begin(now)
    out.contexts.now = now
  }

  /// Milliseconds until something is due.
  private func patience(_ housekeeping: UInt64) -> CInt {
    var due = housekeeping
    if let deadline = pended.nextDeadline { due = min(due, deadline) }
    if let look = out.contexts.nextLook { due = min(due, look) }
    if let frame = heldFrames.nextDue { due = min(due, frame) }
    if ports.contains(where: \.isUnwanted) { due = min(due, now &+ 1_000_000) }
    guard due > now else { return 0 }
    return CInt(min((due - now + 999_999) / 1_000_000, 1000))
  }
}
