// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import LinkLayer
internal import PacketTagging
internal import Synchronization

// Which devices' frames are diverted: those of the configuration while a filter asks for them.
extension Bridge {
  /// Carries a port to the worker's thread.
  final class PortBox: Sendable {
    let name: FramePort.Name
    let traits: FrameTraits
    private let port: Mutex<FramePort?>
    init(_ port: consuming sending FramePort) {
      name = port.name
      traits = port.traits
      self.port = Mutex(port)
    }
    func take() -> sending FramePort? { port.withLock { $0.take() } }
  }

  /// Begins to divert what `policy` needs besides what is diverted; nothing of it if that fails.
  func addPorts(for policy: CompiledPolicy) throws(BridgeError) {
    guard policy.policy.layers.contains(where: \.indicatesDivertedFrames) else { return }
    // Before the devices are read: what happens to them later is not missed.
    watchDevices()
    let wanted = try portNames(for: policy)
    guard !wanted.isEmpty, let worker = frameWorker else { return }
    guard let present = worker.mailbox.ask({ $0.portNames }) else {
      throw .stuck(queue: configuration.firstQueue)
    }
    try addPorts(wanted.subtracting(present), by: worker)
    board.withLock { $0.interfaces.clearFaults() }
  }

  /// Begins to divert by ports of these names; nothing of it if that fails.
  func addPorts(_ names: Set<FramePort.Name>, by worker: Worker) throws(BridgeError) {
    var boxes: [PortBox] = []
    for name in names { boxes.append(try openPort(name)) }
    guard !boxes.isEmpty else { return }
    let answer = worker.mailbox.ask { [boxes] state -> BridgeError? in
      do throws(BridgeError) {
        try state.add(boxes.compactMap { $0.take() })
        return nil
      } catch {
        return error
      }
    }
    guard let answer else { throw .stuck(queue: configuration.firstQueue) }
    if let answer { throw answer }
    injections.add(Dictionary(boxes.map { ($0.name, $0.traits) }) { $1 })
  }

  /// Lets go of the devices that `policy` does not need, nil needing none, and waits until they are
  /// as they were.
  ///
  /// No frame is lost or doubled by it.
  func retirePorts(for policy: CompiledPolicy?) async {
    guard let worker = frameWorker else { return }
    let wanted: Set<FramePort.Name>
    do throws(BridgeError) {
      wanted = if let policy { try portNames(for: policy) } else { [] }
    } catch {
      return warn("devices that no filter needs may still be diverted: \(error)")
    }
    injections.keep(wanted)
    defer { leavePlaces(forGood: policy == nil) }
    let deadline = ContinuousClock.now + .seconds(5)
    worker.mailbox.post { $0.keepPorts(wanted) }
    while ContinuousClock.now < deadline {
      let left = worker.mailbox.ask { $0.leavingPorts }
      if left == 0 || left == nil { return }
      try? await Task.sleep(for: .milliseconds(2))
    }
    warn("a device still diverts frames that no filter needs; calloutctl status shows which")
  }

  /// Keeps a port's place at its device until another takes it or the interface is left.
  ///
  /// A device loses what it is about to send whenever a clsact discipline comes or goes; filters may
  /// come and go without that.
  private func keepPlace(_ name: FramePort.Name, _ injector: FrameInjector) {
    // What was there goes after the lock, and after the new one has come.
    _ = board.withLock { $0.places.updateValue(injector, forKey: name) }
  }

  /// Leaves the places at devices that are no interfaces of ours any more, or all.
  private func leavePlaces(forGood: Bool) {
    _ = board.withLock { board in
      let kept = forGood ? [] : board.interfaces.indexes
      defer { board.places = board.places.filter { kept.contains($0.key.device) } }
      return board.places
    }
  }

  /// The worker that has all ports.
  var frameWorker: Worker? { board.withLock { $0.workers.first } }

  /// The ports that `policy` needs; those of interfaces that have gone are not among them.
  func portNames(for policy: CompiledPolicy) throws(BridgeError) -> Set<FramePort.Name> {
    let layers = policy.policy.layers
    var directions: [LinkDirection] = []
    for layer in layers where layer.indicatesDivertedFrames {
      let direction: LinkDirection = layer.direction == .inbound ? .inbound : .outbound
      if !directions.contains(direction) { directions.append(direction) }
    }
    guard !directions.isEmpty else { return [] }
    guard board.withLock({ $0.field }) != nil else { throw .framesNeedMark }
    var names: Set<FramePort.Name> = []
    for index in try lookForInterfaces() {
      for direction in directions {
        names.insert(FramePort.Name(device: index, direction: direction))
      }
    }
    return names
  }

  /// The devices of the configured interfaces.
  private func lookForInterfaces() throws(BridgeError) -> Set<UInt32> {
    let devices: [LinkDevice]
    do throws(LinkError) {
      devices = try LinkDevice.all()
    } catch {
      switch error {
      case .system(let error): throw .system(error)
      }
    }
    let (unknown, indexes) = board.withLock { board in
      (board.interfaces.look(in: devices), board.interfaces.indexes)
    }
    if let unknown { throw .noInterface(unknown) }
    return indexes
  }

  private func openPort(_ name: FramePort.Name) throws(BridgeError) -> PortBox {
    guard let field = board.withLock({ $0.field }) else { throw .framesNeedMark }
    let options = FrameDivertOptions(
      device: name.device, direction: name.direction, injectedBit: field.injectedBit,
      markMask: field.mask,
      failurePolicy: configuration.failurePolicy == .permit ? .permit : .block)
    try checkMarkOfOthers(field.mask)
    do throws(DivertError) {
      let divert = try FrameDivert.open(options)
      let injector = try divert.makeInjector()
      if divert.attachment == .clsact { keepPlace(name, injector) }
      return PortBox(FramePort(divert, injector: injector))
    } catch {
      throw .divert(error)
    }
  }
}
