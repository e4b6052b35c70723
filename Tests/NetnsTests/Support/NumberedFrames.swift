// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// Sends frames of mixed sizes that bear the numbers of four flows.
final class NumberedSender {
  static let sizes = [24, 60, 64, 100, 576, 1000, 1400, 1514]
  private let sizes: [Int]
  private let descriptor: Int32
  private var next: [UInt32] = [0, 0, 0, 0]
  private var sent = 0
  private var frame: [UInt8]

  private let isPatient: Bool

  /// A patient one sends a frame again that the kernel dropped in the call.
  init(
    in namespace: String? = nil, _ device: String, sizes: [Int] = sizes, isPatient: Bool = true
  ) {
    self.sizes = sizes
    self.isPatient = isPatient
    descriptor = packetSocket(in: namespace, device, 0)
    let isHost = namespace == nil
    frame = (isHost ? Ends.peer + Ends.host : Ends.host + Ends.peer) + [0x88, 0xb5]
    frame += [UInt8](repeating: 0, count: sizes.max() ?? 0)
  }

  deinit { Glibc.close(descriptor) }

  func send(count: Int, pause: UInt32 = 0) {
    for _ in 0..<count {
      let flow = sent & 3
      frame[14] = UInt8(flow)
      for byte in 0..<4 { frame[15 + byte] = UInt8(truncatingIfNeeded: next[flow] >> (byte * 8)) }
      let size = sizes[(sent * 7 + sent / 8) % sizes.count]
      while Glibc.send(descriptor, frame, size, 0) < 0, isPatient {
        // The device may go before the sender.
        if errno != ENOBUFS { return }
      }
      next[flow] += 1
      sent += 1
    }
    if pause > 0 { usleep(pause) }
  }
}

/// Notes which numbered frames come, how often and in what order.
final class NumberedReceiver: Sendable {
  struct Log: Sendable, CustomStringConvertible {
    var count = 0
    var doubled = 0
    /// Frames that came after a later one of their flow.
    var late = 0
    var seen: [Set<UInt32>] = [[], [], [], []]
    var top: [UInt32] = [0, 0, 0, 0]

    var description: String { "\(count) frames, \(doubled) doubled, \(late) late" }

    /// Whether there is no number missing below the highest.
    var isComplete: Bool { zip(seen, top).allSatisfy { $0.count == Int($1) } }
  }

  private let descriptor: Int32
  private let log = Mutex(Log())
  private let isEnding = Mutex(false)
  private let thread = Mutex<Background?>(nil)

  init(in namespace: String? = nil, _ device: String) {
    descriptor = packetSocket(in: namespace, device, 0x88b5)
    thread.withLock {
      $0 = Background { [self] in read() }
    }
  }

  func close() {
    isEnding.withLock { $0 = true }
    thread.withLock { $0.take() }?.join()
    Glibc.close(descriptor)
  }

  var contents: Log { log.withLock { $0 } }

  private func read() {
    var buffer = [UInt8](repeating: 0, count: 2048)
    while !isEnding.withLock({ $0 }) {
      var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&ready, 1, 20) == 1 else { continue }
      while recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT)) >= 19 {
        let flow = Int(buffer[14] & 3)
        let number = (0..<4).reduce(0 as UInt32) { $0 | UInt32(buffer[15 + $1]) << ($1 * 8) }
        log.withLock { log in
          guard log.seen[flow].insert(number).inserted else {
            log.doubled += 1
            return
          }
          log.count += 1
          if number + 1 > log.top[flow] { log.top[flow] = number + 1 } else { log.late += 1 }
        }
      }
    }
  }
}

/// A packet socket at a device; 0 as the protocol is for sending only.
func packetSocket(in namespace: String?, _ device: String, _ protocolNumber: UInt16) -> Int32 {
  inNamespace(namespace) {
    let number = socket(17 /* AF_PACKET */, Int32(SOCK_RAW.rawValue), 0)
    precondition(number >= 0)
    var one: Int32 = 1
    setsockopt(number, 263 /* SOL_PACKET */, 8 /* PACKET_AUXDATA */, &one, 4)
    setsockopt(number, 263, 23 /* PACKET_IGNORE_OUTGOING */, &one, 4)
    setsockopt(number, SOL_SOCKET, 75 /* SO_RCVMARK */, &one, 4)
    var size: Int32 = 256 << 20
    setsockopt(number, SOL_SOCKET, 33 /* SO_RCVBUFFORCE */, &size, 4)
    var address = [UInt8](repeating: 0, count: 20)
    address[0] = 17
    address[2] = UInt8(protocolNumber >> 8)
    address[3] = UInt8(protocolNumber & 0xff)
    let index = if_nametoindex(device)
    precondition(index > 0)
    for byte in 0..<4 { address[4 + byte] = UInt8(truncatingIfNeeded: index >> (byte * 8)) }
    let bound = address.withUnsafeBytes {
      $0.withMemoryRebound(to: sockaddr.self) { bind(number, $0.baseAddress, 20) }
    }
    precondition(bound == 0)
    return number
  }
}
