// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutEngine
internal import CaptureFiles
internal import LinkLayer
internal import Logging
internal import PacketTagging

/// One generator at one layer, which also says which way its frames go.
struct FrameGenerator: Sendable {
  /// What tells it from others.
  struct Job: Sendable, Hashable {
    var callout: String
    var layer: Layer
    var generation: Generation
  }

  let job: Job
  let bridge: Bridge
  let tally: GeneratorTally
  let logger: Logger

  /// The most frames that are injected at once, and how often that is tried at most.
  private static let batch = 256
  private static let tick = Duration.milliseconds(5)

  /// Injects until there are enough, or the task is cancelled.
  func run() async {
    guard let handle = try? bridge.makeInjectionHandle(kinds: .l2) else { return }
    let interval = job.generation.rate.period / Int(max(1, job.generation.rate.count))
    let clock = ContinuousClock()
    var pace = Pace(begun: clock.now, interval: interval)
    var (given, problem) = (UInt64(0), String?.none)
    while !Task.isCancelled, given < job.generation.count ?? .max {
      let wanted = Int(clamping: (job.generation.count ?? .max) - given)
      let due = min(pace.due(at: clock.now, atMost: Self.batch), wanted)
      // What the worker has not got round to is not heaped up.
      if due > 0, handle.pendingCount < Self.batch {
        let found = inject(due, from: given, handle)
        if let found, found != problem { warn(found) }
        problem = found
        if found == nil { given += UInt64(due) }
        pace.note(due)
      }
      let next = max(pace.next, clock.now + min(interval, Self.tick))
      try? await clock.sleep(until: next)
    }
    await handle.destroy()
  }

  private func warn(_ problem: String) {
    logger.warning(
      "no frame is generated",
      metadata: [LogKey.callout: "\(job.callout)", LogKey.error: "\(problem)"])
  }

  /// Injects so many frames; why it cannot, nil if it has begun.
  private func inject(_ count: Int, from first: UInt64, _ handle: InjectionHandle) -> String? {
    let all = job.generation.frames
    let start = Int(first % UInt64(max(1, all.count)))
    let frames = (start..<start + count).map { all[$0 % all.count] }
    var chain = InjectableChain()
    for frame in frames { chain.append(.invented(frame.bytes)) }
    let lengths = frames.map(\.bytes.count)
    let tally = tally
    let completion: InjectionCompletion = { segment in
      guard segment.status.isSuccess else { return tally.count(refused: segment.count) }
      let bytes = lengths.dropFirst(segment.first).prefix(segment.count).reduce(0, +)
      tally.count(injected: segment.count, bytes: bytes)
    }
    guard let device = try? LinkDevice.find(name: job.generation.interface) else {
      tally.count(refused: count)
      return "there is no interface \(job.generation.interface)"
    }
    if let problem = Set(frames).lazy.compactMap({ $0.problem(at: device) }).first {
      tally.count(refused: count)
      return problem.message
    }
    let outcome =
      job.layer.direction == .inbound
      ? bridge.injectMACReceive(
        chain: chain, with: handle, at: job.layer, interface: device.index, completion: completion)
      : bridge.injectMACSend(
        chain: chain, with: handle, at: job.layer, interface: device.index, completion: completion)
    switch consume outcome {
    case .started: return nil
    case .refused(let error, _):
      tally.count(refused: count)
      return "\(error)"
    }
  }

  /// When frames are due.
  struct Pace {
    private var begun: ContinuousClock.Instant
    private let interval: Duration
    private var done = 0

    init(begun: ContinuousClock.Instant, interval: Duration) {
      self.begun = begun
      self.interval = max(interval, .nanoseconds(1))
    }

    /// How many are due; of what is more than `limit` late none is made up for.
    mutating func due(at now: ContinuousClock.Instant, atMost limit: Int) -> Int {
      let elapsed = max(.zero, now - begun) / interval
      let due = elapsed >= 1e15 ? limit + 1 : Int(elapsed) + 1 - done
      guard due > limit else { return max(0, due) }
      begun = now
      done = 0
      return limit
    }

    /// Notes that so many were tried.
    mutating func note(_ count: Int) { done += count }

    /// When the next one is due.
    var next: ContinuousClock.Instant { begun + interval * done }
  }
}
