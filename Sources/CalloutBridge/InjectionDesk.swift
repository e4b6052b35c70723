// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import LinkLayer
internal import PacketTagging
internal import Synchronization

/// Who may inject what, and where, for callers of any thread.
final class InjectionDesk: Sendable {
  private struct State: Sendable {
    var isOpen = false
    var mailboxes: [Mailbox] = []
    /// The layers with filters that ask callouts.
    var layers: Set<Layer> = []
    var ports: [FramePort.Name: FrameTraits] = [:]
  }

  private let state = Mutex(State())
  private let lastHandle = Atomic<UInt32>(0)
  private let refusals = Atomic<UInt64>(0)

  /// A number that no other handle of the engine has.
  func nextHandle() -> InjectionHandleID {
    InjectionHandleID(rawValue: lastHandle.add(1, ordering: .relaxed).newValue)
  }

  /// Injections that were refused because the frame had been injected too often.
  var tooManyHops: UInt64 { refusals.load(ordering: .relaxed) }

  /// Takes injections from now on.
  func open(_ mailboxes: [Mailbox], layers: Set<Layer>) {
    state.withLock { state in
      state.isOpen = true
      state.mailboxes = mailboxes
      state.layers = layers
    }
  }

  /// Takes none any more.
  func close() { state.withLock { $0 = State() } }

  /// Another policy is in force.
  func change(layers: Set<Layer>) { state.withLock { $0.layers = layers } }

  /// Frames can be injected at these ports too.
  func add(_ ports: [FramePort.Name: FrameTraits]) {
    state.withLock { $0.ports.merge(ports) { $1 } }
  }

  /// Takes over what has changed of ports at which frames can be injected.
  func learn(_ ports: [FramePort.Name: FrameTraits]) {
    state.withLock { state in
      for (name, traits) in ports where state.ports[name] != nil { state.ports[name] = traits }
    }
  }

  /// Frames can be injected at other ports no more.
  func keep(_ names: Set<FramePort.Name>) {
    state.withLock { state in state.ports = state.ports.filter { names.contains($0.key) } }
  }

  /// The workers, and the port at which a frame can be injected.
  ///
  /// `layer` is nil for IP packets, which need no filter.
  func find(
    _ name: FramePort.Name, at layer: Layer?, with handle: InjectionHandle
  ) throws(InjectionError) -> (mailboxes: [Mailbox], traits: FrameTraits) {
    let state = state.withLock { $0 }
    if let layer {
      let direction: Direction = name.direction == .inbound ? .inbound : .outbound
      // What the handle is for is asked first, so that a wrong one is told also by a stopped engine.
      try handle.require(.l2)
      guard state.isOpen else { throw .closed }
      try handle.require(direction, at: layer, among: state.layers)
      guard layer.medium != .virtualSwitch else { throw .wrongLayer(layer) }
    } else {
      _ = try workers(for: handle)
    }
    guard let traits = state.ports[name] else { throw .noInterface(name.device) }
    guard let device = try? LinkDevice.find(index: name.device) else {
      throw .noInterface(name.device)
    }
    // Into a device that is down frames vanish without a word.
    guard device.isUp else { throw .interfaceDown(name.device) }
    return (state.mailboxes, traits)
  }

  /// The workers, for who sends IP packets.
  func workers(for handle: InjectionHandle) throws(InjectionError) -> [Mailbox] {
    let state = state.withLock { $0 }
    try handle.require(.network)
    guard state.isOpen else { throw .closed }
    return state.mailboxes
  }

  /// A frame's trace with one more injection.
  func trace(
    _ trace: InjectionTrace, with handle: InjectionHandle, context: UInt64
  ) throws(InjectionError) -> InjectionTrace {
    var trace = trace
    do throws(InjectionError) {
      try trace.note(handle.id, context: context)
    } catch {
      refusals.add(1, ordering: .relaxed)
      throw error
    }
    return trace
  }
}
