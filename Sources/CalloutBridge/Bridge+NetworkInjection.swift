// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
internal import LinkLayer
internal import PacketTagging
internal import PacketViews

// As for frames, any thread may inject IP packets, and a worker does it later. No filter is needed.
extension Bridge {
  /// Sends an IP packet as this host's: it is routed, and comes by OUTPUT and our layers there.
  ///
  /// `handle` is one of kind `.network` and the packet's family; `context` is what `injectionState`
  /// tells it. Of IPv4 headers the kernel fills in the checksum, and an identification of 0; other
  /// checksums must be right. `completion` is called on a worker's thread: never block there. What a
  /// clone bears goes with it.
  ///
  /// Mirrors `FwpsInjectNetworkSendAsync0`. If it is refused nothing is completed, and the packet is
  /// the caller's again.
  public func injectNetworkSend(
    _ packet: consuming InjectablePacket, with handle: InjectionHandle, context: UInt64 = 0,
    completion: @escaping InjectionCompletion
  ) -> PacketInjectionOutcome {
    inject(packet, with: handle, context, completion) { () throws(InjectionError) in
      (try injections.workers(for: handle), .send)
    }
  }

  /// Gives an IP packet to this host as if an interface had received it.
  ///
  /// It meets the IP layers, whose callouts can ask for its injection state. The interface's inbound
  /// frames must be diverted, by a filter at an inbound MAC layer.
  ///
  /// Mirrors `FwpsInjectNetworkReceiveAsync0`; as `injectNetworkSend`.
  public func injectNetworkReceive(
    _ packet: consuming InjectablePacket, with handle: InjectionHandle, context: UInt64 = 0,
    interface: UInt32, completion: @escaping InjectionCompletion
  ) -> PacketInjectionOutcome {
    inject(packet, with: handle, context, completion) { () throws(InjectionError) in
      let name = FramePort.Name(device: interface, direction: .inbound)
      let (workers, traits) = try injections.find(name, at: nil, with: handle)
      return (workers, .receive(traits))
    }
  }

  private func inject(
    _ packet: consuming InjectablePacket, with handle: InjectionHandle, _ context: UInt64,
    _ completion: @escaping InjectionCompletion,
    _ find: () throws(InjectionError) -> (workers: [Mailbox], way: PacketInjectionJob.Way)
  ) -> PacketInjectionOutcome {
    let (bytes, known) = (packet.bytes, packet.trace)
    let job: PacketInjectionJob
    let workers: [Mailbox]
    do throws(InjectionError) {
      let (found, way) = try find()
      guard let layout = try? PacketLayout(parsing: bytes.span.packetBytes),
        layout.isCapturedWhole
      else { throw .malformedPacket }
      guard handle.family == (layout.version == .v4 ? .ipv4 : .ipv6) else { throw .handleStale }
      let trace = try injections.trace(known, with: handle, context: context)
      let pending = try PendingInjection.begin(
        1, with: handle, needsCompletion: true, completion)
      job = PacketInjectionJob(packet.handle, layout, trace, way, pending)
      workers = found
    } catch {
      return .refused(error, packet)
    }
    job.give(packet)
    if let worker = workers.first, worker.post({ $0.carryOut(job) }) { return .started }
    job.takePending()?.revoke()
    guard let packet = job.takePacket() else { return .started }
    return .refused(.closed, packet)
  }
}
