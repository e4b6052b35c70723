// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import LinkLayer

// Ports come with the first filter of their layers and go with the last.
extension WorkerState {
  /// Begins to divert by ports that are new; on an error none of them does.
  mutating func add(_ new: [FramePort]) throws(BridgeError) {
    var attached: [FramePort] = []
    for port in new {
      do throws(DivertError) {
        try port.divert.attach()
        attached.append(port)
      } catch {
        ports += attached
        for port in attached { port.isUnwanted = true }
        portsHaveChanged()
        throw .divert(error)
      }
    }
    ports += attached
    portsHaveChanged()
  }

  /// Has ports go that no filter needs any more; those that are on their way out are used again.
  mutating func keepPorts(_ wanted: Set<FramePort.Name>) {
    for port in ports where !wanted.contains(port.name) { port.isUnwanted = true }
  }

  /// Goes on to take ports down.
  mutating func tendPorts() {
    guard ports.contains(where: \.isUnwanted) else { return }
    var isAnyGone = false
    for port in ports where port.isUnwanted {
      port.divert.beginRemoval()
      if port.divert.continueRemoval() {
        note(port)
        isAnyGone = true
      }
    }
    guard isAnyGone else { return }
    var gone = ports.filter { $0.isUnwanted && $0.divert.phase == .detached }
    ports.removeAll { $0.isUnwanted && $0.divert.phase == .detached }
    portsHaveChanged()
    while let last = gone.popLast() { closer.close(LastReference(consume last)) }
  }

  /// The names of the ports that still divert.
  var portNames: Set<FramePort.Name> { Set(ports.map(\.name)) }

  /// What the ports have counted, and those that have gone.
  func portStatistics() -> [PortStatistics] {
    let names = portNames
    let gone = gonePorts.filter { !names.contains($0.key) }
    return ports.map { PortStatistics($0, isAttached: true) } + gone.values
  }

  /// What the worker has counted of frames.
  func frameStatistics() -> FrameStatistics {
    var result = FrameStatistics()
    result.frames = counters.frames
    result.bytes = counters.frameBytes
    result.permitted = counters.framesPermitted
    result.blocked = counters.framesBlocked
    result.absorbed = counters.framesAbsorbed
    result.held = counters.framesHeld
    result.heldNow = heldFrames.count
    result.handedOver = counters.framesHandedOver
    result.rewritten = counters.framesRewritten
    result.lost = counters.framesUnwritten &+ counters.framesUnsent
    result.injected = counters.framesInjected
    result.injectionsFailed = counters.injectionsFailed
    return result
  }

  private mutating func note(_ port: FramePort) {
    // A device that comes and goes has a new index each time.
    gonePorts = gonePorts.filter { name, earlier in
      earlier.deviceName != port.deviceName || name.direction != port.name.direction
    }
    gonePorts[port.name] = PortStatistics(port, isAttached: false)
  }

  private mutating func portsHaveChanged() {
    heldPorts = ports.map { HeldObject(heldByCaller: $0) }
    portsChanged = true
  }
}
