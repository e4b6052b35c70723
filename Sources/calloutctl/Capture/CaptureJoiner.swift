// SPDX-License-Identifier: Apache-2.0

internal import CalloutControl

/// A packet with the lives of its contexts, ready to be written.
struct CapturedLives {
  var packet: PacketLine
  var lives: [Life] = []
}

/// Brings packets together with the lives of their contexts.
///
/// The daemon sends a packet before its events. A handle is given anew soon after its packet's end, but
/// ids are issued in a row: an event belongs to the last packet of its handle whose id is not higher
/// than the event's.
struct CaptureJoiner {
  private struct Held {
    var captured: CapturedLives
    var open: [Life.Key: Life] = [:]

    /// Adds an event; true if all contexts have ended by it.
    mutating func add(_ event: EventLine) -> Bool {
      let key = Life.Key(event)
      let life = open.removeValue(forKey: key)?.adding(event) ?? Life(event)
      if life.hasEnded { captured.lives.append(life) } else { open[key] = life }
      return open.isEmpty && captured.lives.count >= captured.packet.contexts
    }
  }

  private struct Place {
    var handle: UInt32
    var packetID: UInt32
  }

  private let maximumPackets: Int
  private let maximumBytes: Int
  /// By handle, the oldest first; hardly ever more than one.
  private var held: [UInt32: [Held]] = [:]
  private(set) var count = 0
  private var bytes = 0
  /// Where the held packets are, the oldest first, among others that have been written.
  private var order: [Place] = []
  private var head = 0
  /// Packets that were given up before their contexts had ended, for want of room.
  private(set) var forgotten = 0

  /// A joiner that holds so much at most.
  init(packets: Int = 16384, bytes: Int = 512 << 20) {
    maximumPackets = max(packets, 1)
    maximumBytes = bytes
  }

  /// Adds a packet.
  mutating func add(_ packet: PacketLine) {
    while head < order.count, count >= maximumPackets || bytes > maximumBytes { forgetOldest() }
    held[packet.handle, default: []].append(Held(captured: CapturedLives(packet: packet)))
    count += 1
    bytes += packet.bytes.utf8.count
    order.append(Place(handle: packet.handle, packetID: packet.packetID))
    guard order.count > 4 * maximumPackets else { return }
    order = order[head...].filter { index(of: $0) != nil }
    head = 0
  }

  /// Adds an event; the packet whose contexts have all ended by it.
  ///
  /// Events of packets that were not captured are passed over.
  mutating func add(_ event: EventLine) -> CapturedLives? {
    guard
      let index = held[event.handle]?.lastIndex(where: {
        Int32(bitPattern: event.packetID &- $0.captured.packet.packetID) >= 0
      }), held[event.handle]?[index].add(event) == true
    else { return nil }
    return remove(event.handle, index)
  }

  private mutating func remove(_ handle: UInt32, _ index: Int) -> CapturedLives? {
    let captured = held[handle]?.remove(at: index).captured
    if held[handle]?.isEmpty == true { held[handle] = nil }
    count -= 1
    bytes -= captured?.packet.bytes.utf8.count ?? 0
    return captured
  }

  private mutating func forgetOldest() {
    guard head < order.count else { return }
    let place = order[head]
    head += 1
    guard let index = index(of: place) else { return }
    _ = remove(place.handle, index)
    forgotten += 1
  }

  private func index(of place: Place) -> Int? {
    held[place.handle]?.firstIndex { $0.captured.packet.packetID == place.packetID }
  }
}
