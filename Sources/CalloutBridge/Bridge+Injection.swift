// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
internal import LinkLayer
public import PacketTagging
internal import PacketViews

// Any thread may inject, callouts in `classify` too: what is sent is sent by a worker, later.
extension Bridge {
  /// A handle to inject with: frames take kind `.l2`, IP packets `.network` and a family.
  ///
  /// Mirrors `FwpsInjectionHandleCreate0`; end it with `destroy()`.
  /// - Throws: `unknownKinds`, `familyRequired`.
  public func makeInjectionHandle(
    kinds: InjectionKinds, family: InjectionFamily = .unspecified
  ) throws(InjectionError) -> InjectionHandle {
    try InjectionHandle(injections.nextHandle(), kinds: kinds, family: family)
  }

  /// Gives a frame to this host as if an interface had received it, behind our inbound MAC layers.
  ///
  /// `context` is what `injectionState` tells its own handle; `layer` an inbound MAC layer at which a
  /// filter asks a callout; `interface` the index of an interface whose frames are diverted. A frame
  /// begins with its MAC header, on raw-IP interfaces with the IP header. `completion` is called on a
  /// worker's thread: never block there. It may be nil for an original. What an original bore ended
  /// when it was absorbed; what a clone bears goes with it.
  ///
  /// Mirrors `FwpsInjectMacReceiveAsync0`. If it is refused nothing is completed, and the frame is the
  /// caller's again.
  public func injectMACReceive(
    _ frame: consuming InjectableFrame, with handle: InjectionHandle, context: UInt64 = 0,
    at layer: Layer, interface: UInt32, completion: InjectionCompletion? = nil
  ) -> InjectionOutcome {
    inject(frame, .inbound, with: handle, context, layer, interface, completion)
  }

  /// Gives frames to this host as if an interface had received them, one after the other.
  ///
  /// As for one frame; all of them set out or none. Completions come in order, one for each run of
  /// frames that ended alike.
  public func injectMACReceive(
    chain: consuming InjectableChain, with handle: InjectionHandle, context: UInt64 = 0,
    at layer: Layer, interface: UInt32, completion: InjectionCompletion? = nil
  ) -> ChainOutcome {
    inject(chain, .inbound, with: handle, context, layer, interface, completion)
  }

  /// Sends a frame by an interface, behind our outbound MAC layers.
  ///
  /// Mirrors `FwpsInjectMacSendAsync0`; as `injectMACReceive`, with an outbound MAC layer.
  public func injectMACSend(
    _ frame: consuming InjectableFrame, with handle: InjectionHandle, context: UInt64 = 0,
    at layer: Layer, interface: UInt32, completion: InjectionCompletion? = nil
  ) -> InjectionOutcome {
    inject(frame, .outbound, with: handle, context, layer, interface, completion)
  }

  /// Sends frames by an interface, one after the other.
  ///
  /// Mirrors `FwpsInjectMacSendAsync0` with a chain.
  public func injectMACSend(
    chain: consuming InjectableChain, with handle: InjectionHandle, context: UInt64 = 0,
    at layer: Layer, interface: UInt32, completion: InjectionCompletion? = nil
  ) -> ChainOutcome {
    inject(chain, .outbound, with: handle, context, layer, interface, completion)
  }

  private func inject(
    _ frame: consuming InjectableFrame, _ direction: LinkDirection,
    with handle: InjectionHandle, _ context: UInt64, _ layer: Layer, _ interface: UInt32,
    _ completion: InjectionCompletion?
  ) -> InjectionOutcome {
    var chain = InjectableChain()
    chain.append(frame)
    switch inject(chain, direction, with: handle, context, layer, interface, completion) {
    case .started: return .started
    case .refused(let error, var chain):
      guard let frame = chain.popFirst() else { return .started }
      return .refused(error, frame)
    }
  }

  private func inject(
    _ chain: consuming InjectableChain, _ direction: LinkDirection,
    with handle: InjectionHandle, _ context: UInt64, _ layer: Layer, _ interface: UInt32,
    _ completion: InjectionCompletion?
  ) -> ChainOutcome {
    let places = chain.remaining
    do throws(InjectionError) {
      let name = FramePort.Name(device: interface, direction: direction)
      let (mailboxes, traits) = try injections.find(name, at: layer, with: handle)
      var traces: [InjectionTrace] = []
      for place in places {
        let known = place.look { frame in
          traits.accepts(frame.bytes.span.packetBytes) ? frame.trace : nil
        }
        guard let known, let known else { throw .malformedFrame }
        traces.append(try injections.trace(known, with: handle, context: context))
      }
      guard !places.isEmpty else { throw .malformedFrame }
      try start(places, traces, mailboxes, traits, layer, handle, completion)
      return .started
    } catch {
      return .refused(error, chain)
    }
  }

  private func start(
    _ places: [InjectableChain.Place], _ traces: [InjectionTrace], _ mailboxes: [Mailbox],
    _ traits: FrameTraits, _ layer: Layer, _ handle: InjectionHandle,
    _ completion: InjectionCompletion?
  ) throws(InjectionError) {
    guard let mailbox = mailboxes.first else { throw .closed }
    let needsCompletion = places.contains { $0.look { $0.needsCompletion } ?? false }
    let pending = try PendingInjection.begin(
      places.count, with: handle, needsCompletion: needsCompletion, completion)
    let job = InjectionJob(places, traces, traits, at: layer, pending)
    if mailbox.post({ $0.carryOut(job) }) { return }
    job.takePending()?.revoke()
    throw .closed
  }
}
