// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import Foundation
internal import Kernel
internal import PacketTagging
internal import Synchronization

/// The answer to `capture`: each packet before its events.
final class CaptureStream: Sendable {
  /// How long packets may lie in the workers' rings.
  private static let interval = Duration.milliseconds(5)

  private let events: EventLines
  private let capture: PacketCapture
  /// Held while packets are taken and appended, so that no event comes between.
  private let told = Mutex(Told())

  private struct Told {
    var devices: [UInt32: String] = [:]
    var lost: UInt64 = 0
  }

  init(events: EventLines, capture: PacketCapture) {
    self.events = events
    self.capture = capture
  }

  /// Appends packets and events until the bridge stops or the task is cancelled.
  func fill(_ buffer: EventBuffer) async throws {
    let begun = CaptureLine.Beginning(time: MonotonicClock.now(), snap: UInt32(capture.snap))
    buffer.append(try JSONLine.bytes(CaptureLine(begun: begun)))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [self] in
        for await event in events {
          try await buffer.waitForRoom()
          try appendPackets(to: buffer)
          buffer.append(event)
        }
      }
      group.addTask { [self] in
        while true {
          try await Task.sleep(for: Self.interval)
          try await buffer.waitForRoom()
          try appendPackets(to: buffer)
        }
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func appendPackets(to buffer: EventBuffer) throws {
    try told.withLock { told in
      for packet in capture.take() {
        let device = packet.device
        let name = told.devices[device] ?? NetworkDevice.name(device) ?? "\(device)"
        told.devices[device] = name
        let line = PacketLine(packet, device: name)
        buffer.append(try JSONLine.bytes(CaptureLine(packet: line)))
      }
      let lost = capture.lost
      guard lost != told.lost else { return }
      told.lost = lost
      buffer.append(try JSONLine.bytes(CaptureLine(lost: lost)))
    }
  }
}

extension CapturedPacket {
  /// Whether it came by a device when it was tagged; what is routed through has done so.
  var isInbound: Bool { layer.direction != .outbound }

  /// The device by which it came, or leaves.
  var device: UInt32 {
    let (first, second) = isInbound ? (inputDevice, outputDevice) : (outputDevice, inputDevice)
    return first == 0 ? second : first
  }
}

extension PacketLine {
  init(_ packet: CapturedPacket, device: String) {
    self.init(
      time: packet.time, handle: packet.handle, packetID: packet.packetID, queue: packet.queue,
      layer: packet.layer.name, device: device, isInbound: packet.isInbound,
      originalLength: packet.originalLength, contexts: packet.contexts,
      bytes: Data(packet.bytes).base64EncodedString())
  }
}
