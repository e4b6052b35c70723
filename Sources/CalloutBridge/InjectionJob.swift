// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import LinkLayer
internal import PacketTagging
internal import PacketViews
internal import Synchronization

/// Frames of one call, on their way to the workers that own what they bear.
final class InjectionJob: Sendable {
  let frames: [InjectableChain.Place]
  /// What each frame's injections will have been.
  let traces: [InjectionTrace]
  let traits: FrameTraits
  let layer: Layer
  private let pending: Mutex<PendingInjection?>

  init(
    _ frames: [InjectableChain.Place], _ traces: [InjectionTrace], _ traits: FrameTraits,
    at layer: Layer, _ pending: consuming PendingInjection
  ) {
    self.frames = frames
    self.traces = traces
    self.traits = traits
    self.layer = layer
    self.pending = Mutex(pending)
  }

  /// What has to be completed: whoever works on the job has it, and gives it back to hand the job on.
  ///
  /// If it is dropped, what is left is completed as cancelled.
  func takePending() -> PendingInjection? { pending.withLock { $0.take() } }

  func giveBack(_ returned: consuming PendingInjection) {
    var returned: PendingInjection? = consume returned
    pending.withLock { $0 = returned.take() }
  }
}

// Off the way of frames: here memory may be allocated.
extension WorkerState {
  /// Injects a job's frames that are left, as far as this worker owns what they bear.
  mutating func carryOut(_ job: InjectionJob) {
    guard var pending = job.takePending() else { return }
    var run = (count: 0, status: InjectionStatus.success)
    for index in pending.completed..<pending.count {
      let owner = job.frames[index].look { out.contexts.shard(of: $0.handle) ?? shard } ?? shard
      if owner != shard, owner < queues.count {
        pending.complete(run.count, run.status)
        job.giveBack(pending)
        // If that worker has gone the rest is cancelled with the job.
        _ = peers.post(to: owner) { $0.carryOut(job) }
        return
      }
      let status: InjectionStatus
      if let frame = job.frames[index].take() {
        status = inject(frame, job.traces[index], job)
      } else {
        status = .cancelled
      }
      if status != run.status {
        pending.complete(run.count, run.status)
        run = (0, status)
      }
      run.count += 1
    }
    pending.complete(run.count, run.status)
  }

  private mutating func inject(
    _ frame: consuming InjectableFrame, _ trace: InjectionTrace, _ job: InjectionJob
  ) -> InjectionStatus {
    let (mark, priority, offload) = (frame.mark, frame.priority, frame.offload)
    var (bytes, packet) = frame.take()
    packet.layer = job.layer.rawValue
    job.traits.identify(bytes.span.packetBytes, &packet)
    guard phase == .running else {
      out.contexts.free(clone: packet.handle)
      return .cancelled
    }
    return inject(
      bytes, packet, trace, job.traits, mark: mark, priority: priority, offload: offload)
  }

  /// Injects the bytes of a frame, with what it bears.
  mutating func inject(
    _ bytes: [UInt8], _ packet: TaggedPacket, _ trace: InjectionTrace, _ traits: FrameTraits,
    mark: UInt32 = 0, priority: UInt32 = 0, offload: FrameOffload = FrameOffload()
  ) -> InjectionStatus {
    var packet = packet
    do throws(TaggingError) {
      try out.beginInjection(of: &packet, trace, at: traits.injectionPlace)
    } catch {
      out.contexts.free(clone: packet.handle)
      return .insufficientResources
    }
    let result = traits.injector.inject(
      bytes.span.packetBytes, mark: out.contexts.mark(mark, bearing: packet.handle),
      priority: priority, offload: offload)
    if result == .sent {
      counters.framesInjected &+= 1
    } else {
      counters.injectionsFailed &+= 1
      out.contexts.endInjection(packet.handle)
    }
    return InjectionStatus(result)
  }
}

extension InjectionStatus {
  /// What a send's result means.
  init(_ result: FrameSendResult) {
    self =
      switch result {
      case .sent: .success
      case .deviceDown: .mediaDisconnected
      case .deviceGone: .noSuchDevice
      case .tooLong: .invalidBufferSize
      case .malformed: .invalidParameter
      case .noRoom: .insufficientResources
      case .refused(let errno): InjectionStatus(errno: errno)
      }
  }
}
