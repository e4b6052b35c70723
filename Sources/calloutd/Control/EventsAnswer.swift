// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import Kernel
internal import PacketTagging
internal import PacketViews
internal import Synchronization

/// The answer to `events`: the lives of contexts, and blocks if so asked.
final class EventsAnswer: Sendable {
  /// How long blocks may lie in the workers' rings.
  private static let interval = Duration.milliseconds(10)

  private let events: EventLines
  private let bridge: Bridge
  private let tellsDrops: Bool
  private let left: Mutex<Int>

  init(events: EventLines, bridge: Bridge, tellsDrops: Bool, count: Int?) {
    self.events = events
    self.bridge = bridge
    self.tellsDrops = tellsDrops
    left = Mutex(count ?? .max)
  }

  /// Appends lines until there are enough, the bridge stops or the task is cancelled.
  func fill(_ buffer: EventBuffer) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [self] in
        for await line in events {
          try await buffer.waitForRoom()
          guard takePlace() else { return }
          buffer.append(line)
          if isFull { return }
        }
      }
      if tellsDrops { group.addTask { [self] in try await fillDrops(buffer) } }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func fillDrops(_ buffer: EventBuffer) async throws {
    var names = DeviceNames()
    var lost: UInt64 = 0
    var watch: DropWatch?
    while !isFull {
      // The bridge may not have started yet.
      if watch == nil { watch = try? await bridge.watchDrops() }
      try await Task.sleep(for: Self.interval)
      try await buffer.waitForRoom()
      guard let watch else { continue }
      for drop in watch.take() {
        guard takePlace() else { return }
        var line = DropLine(drop, &names)
        let now = watch.lost
        if now != lost { line.lost = now &- lost }
        lost = now
        buffer.append(try JSONLine.bytes(line))
      }
    }
  }

  private var isFull: Bool { left.withLock { $0 <= 0 } }

  private func takePlace() -> Bool {
    left.withLock { left in
      left -= 1
      return left >= 0
    }
  }
}

/// The names of devices, each looked up once.
struct DeviceNames {
  private var known: [UInt32: String] = [:]

  /// The device's name, its number if it has gone, nil for none.
  mutating func name(of device: UInt32) -> String? {
    guard device != 0 else { return nil }
    if let name = known[device] { return name }
    let name = NetworkDevice.name(device) ?? "\(device)"
    known[device] = name
    return name
  }
}

extension DropLine {
  init(_ drop: ClassifyDrop, _ names: inout DeviceNames) {
    self.init(
      time: drop.time, layer: drop.layer.name, filter: drop.filterName, filterID: drop.filter,
      queue: drop.queue)
    callout = drop.callout
    veto = drop.isVeto
    packetID = drop.packetID
    input = names.name(of: drop.inputDevice)
    output = names.name(of: drop.outputDevice)
    length = drop.originalLength
    var bytes = drop.bytes.span.packetBytes
    if drop.layer.indicatesFrames {
      let frame = FrameLayout(parsing: bytes)
      etherType = hexadecimal(frame.etherType.rawValue)
      guard frame.etherType == .ipv4 || frame.etherType == .ipv6, frame.isWellFormed else { return }
      bytes = bytes.slice(from: frame.networkOffset)
    }
    guard let packet = try? PacketLayout(parsing: bytes) else { return }
    ipProtocol = packet.transportProtocol.rawValue
    source = packet.sourceAddress.description
    destination = packet.destinationAddress.description
    guard packet.hasPorts else { return }
    sourcePort = packet.sourcePort
    destinationPort = packet.destinationPort
  }
}
