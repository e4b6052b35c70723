// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import LinkLayer
internal import PacketTagging
internal import PacketViews
internal import Synchronization

/// An IP packet on its way to the worker that owns what it bears.
final class PacketInjectionJob: Sendable {
  /// Which way the packet goes.
  enum Way: Sendable {
    /// Out, by the routes of this host.
    case send
    /// In, by the injecting device of a port.
    case receive(FrameTraits)
  }

  /// The handle of its contexts, 0 for none.
  let handle: UInt32
  let layout: PacketLayout
  /// What the packet's injections will have been.
  let trace: InjectionTrace
  let way: Way
  private let packet = Mutex<InjectablePacket?>(nil)
  private let pending: Mutex<PendingInjection?>

  init(
    _ handle: UInt32, _ layout: PacketLayout, _ trace: InjectionTrace, _ way: Way,
    _ pending: consuming PendingInjection
  ) {
    self.handle = handle
    self.layout = layout
    self.trace = trace
    self.way = way
    self.pending = Mutex(pending)
  }

  /// Puts the packet in.
  func give(_ given: consuming InjectablePacket) {
    var given: InjectablePacket? = consume given
    packet.withLock { $0 = given.take() }
  }

  func takePacket() -> InjectablePacket? { packet.withLock { $0.take() } }

  /// What has to be completed; if it is dropped, it is completed as cancelled.
  func takePending() -> PendingInjection? { pending.withLock { $0.take() } }
}

// Off the way of packets: here memory may be allocated.
extension WorkerState {
  /// Injects a packet, or hands it to the worker that owns what it bears.
  mutating func carryOut(_ job: PacketInjectionJob) {
    let owner = out.contexts.shard(of: job.handle) ?? shard
    if owner != shard, owner < queues.count {
      // If that worker has gone it is cancelled with the job.
      _ = peers.post(to: owner) { $0.carryOut(job) }
      return
    }
    guard var pending = job.takePending(), let packet = job.takePacket() else { return }
    pending.complete(1, inject(packet, job))
  }

  private mutating func inject(
    _ packet: consuming InjectablePacket, _ job: PacketInjectionJob
  ) -> InjectionStatus {
    var (bytes, packet) = packet.take()
    guard phase == .running else {
      out.contexts.free(clone: packet.handle)
      return .cancelled
    }
    switch job.way {
    case .send: return send(bytes, &packet, job)
    case .receive(let traits):
      bytes = traits.frame(of: bytes, job.layout.version)
      packet.layer = Layer.inboundMACFrameNative.rawValue
      traits.identify(bytes.span.packetBytes, &packet)
      return inject(bytes, packet, job.trace, traits)
    }
  }

  private mutating func send(
    _ bytes: [UInt8], _ packet: inout TaggedPacket, _ job: PacketInjectionJob
  ) -> InjectionStatus {
    let isIPv4 = job.layout.version == .v4
    packet.layer = (isIPv4 ? Layer.outboundTransportV4 : .outboundTransportV6).rawValue
    packet.identify(job.layout, in: bytes.span.packetBytes)
    if desk.injector.marks {
      do throws(TaggingError) {
        try out.beginInjection(of: &packet, job.trace, at: 0)
      } catch {
        out.contexts.free(clone: packet.handle)
        return .insufficientResources
      }
    }
    // A hook of ours clears the bit; where there is none it would hide the packet from our devices.
    let ours = isIPv4 ? hooks.ipv4 : hooks.ipv6
    let meetsHook = !ours.isDisjoint(with: [HookSet(.output), HookSet(.postrouting)])
    do throws(InjectionError) {
      try desk.injector.send(bytes, bearing: packet.handle, isMarked: meetsHook)
      return .success
    } catch {
      out.contexts.endInjection(packet.handle)
      if case .refused(let errno, _) = error { return InjectionStatus(errno: errno) }
      return .unsuccessful
    }
  }
}

extension TaggedPacket {
  /// Notes by what a packet's flow is known; true if it is a fragment.
  @discardableResult
  mutating func identify(_ layout: PacketLayout, in bytes: RawSpan) -> Bool {
    fingerprint = layout.isFragment ? 0 : layout.flowFingerprint.rawValue
    fragmentKey = layout.isFragment ? layout.fragmentKey : 0
    digest = layout.digest(in: bytes)
    isDatagram = layout.transportProtocol == .udp
    return layout.isFragment
  }
}
