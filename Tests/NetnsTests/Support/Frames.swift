// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// A frame as a packet socket gave it, its VLAN tag put back into it.
struct SeenFrame: Sendable, Hashable {
  var bytes: [UInt8]
  /// 0 to this host, 1 broadcast, 2 multicast, 3 to another host, 4 sent.
  var packetType: UInt8
  var mark: UInt32
}

/// A packet socket at one device.
final class FrameTap: Sendable {
  /// For any protocol.
  static let all: UInt16 = 3
  /// One that is for experiments.
  static let experiment: UInt16 = 0x88b5

  private let descriptor: Int32
  private let frames = Mutex<[SeenFrame]>([])
  private let isEnding = Mutex(false)
  private let thread = Mutex<Background?>(nil)

  /// Sees what the device receives: frames of one protocol behind a divert, frames of all before it,
  /// and again when they have been put back.
  init(in namespace: String? = nil, _ device: String, seeing protocolNumber: UInt16 = experiment) {
    descriptor = packetSocket(in: namespace, device, protocolNumber)
    thread.withLock {
      $0 = Background { [self] in read() }
    }
  }

  func close() {
    isEnding.withLock { $0 = true }
    thread.withLock { $0.take() }?.join()
    Glibc.close(descriptor)
  }

  /// Sends a frame; 0, or an `errno` value.
  @discardableResult
  func send(_ frame: [UInt8], mark: UInt32 = 0, priority: UInt32 = 0) -> Int32 {
    var (mark, priority) = (mark, Int32(bitPattern: priority))
    setsockopt(descriptor, SOL_SOCKET, SO_PRIORITY, &priority, 4)
    setsockopt(descriptor, SOL_SOCKET, SO_MARK, &mark, 4)
    return Glibc.send(descriptor, frame, frame.count, 0) >= 0 ? 0 : errno
  }

  var seen: [SeenFrame] { frames.withLock { $0 } }
  var count: Int { frames.withLock { $0.count } }
  func forget() { frames.withLock { $0 = [] } }

  private func read() {
    var buffer = [UInt8](repeating: 0, count: 70_000)
    var control = [UInt8](repeating: 0, count: 256)
    var from = [UInt8](repeating: 0, count: 20)
    while !isEnding.withLock({ $0 }) {
      var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&ready, 1, 20) == 1 else { continue }
      let frame = receive(&buffer, &control, &from)
      if let frame { frames.withLock { $0.append(frame) } }
    }
  }

  private func receive(
    _ buffer: inout [UInt8], _ control: inout [UInt8], _ from: inout [UInt8]
  ) -> SeenFrame? {
    buffer.withUnsafeMutableBytes { buffer in
      control.withUnsafeMutableBytes { control in
        from.withUnsafeMutableBytes { from in
          var vector = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
          return withUnsafeMutablePointer(to: &vector) { vector in
            var message = msghdr()
            message.msg_iov = vector
            message.msg_iovlen = 1
            message.msg_control = control.baseAddress
            message.msg_controllen = control.count
            message.msg_name = from.baseAddress
            message.msg_namelen = 20
            let count = recvmsg(descriptor, &message, Int32(MSG_DONTWAIT))
            guard count >= 0 else { return nil }
            var frame = SeenFrame(
              bytes: Array(buffer[..<count]), packetType: from[10], mark: 0)
            var cursor = 0
            while cursor + 16 <= message.msg_controllen {
              let length = control.loadUnaligned(fromByteOffset: cursor, as: Int.self)
              let level = control.loadUnaligned(fromByteOffset: cursor + 8, as: Int32.self)
              let type = control.loadUnaligned(fromByteOffset: cursor + 12, as: Int32.self)
              if level == SOL_SOCKET, type == SO_MARK {
                frame.mark = control.loadUnaligned(fromByteOffset: cursor + 16, as: UInt32.self)
              }
              if level == 263, type == 8 {
                let status = control.loadUnaligned(fromByteOffset: cursor + 16, as: UInt32.self)
                let tci = control.loadUnaligned(fromByteOffset: cursor + 32, as: UInt16.self)
                let tpid = control.loadUnaligned(fromByteOffset: cursor + 34, as: UInt16.self)
                if status & 0x10 != 0, frame.bytes.count >= 12 {
                  frame.bytes.insert(
                    contentsOf: [
                      UInt8(tpid >> 8), UInt8(tpid & 0xff), UInt8(tci >> 8), UInt8(tci & 0xff),
                    ], at: 12)
                }
              }
              guard length >= 16 else { break }
              cursor += (length + 7) & ~7
            }
            return frame
          }
        }
      }
    }
  }
}

/// The two ends of the first link of a topology.
enum Ends {
  static let host: [UInt8] = [2, 0, 0, 0, 1, 1]
  static let peer: [UInt8] = [2, 0, 0, 0, 1, 2]
  static let broadcast = [UInt8](repeating: 0xff, count: 6)
}

/// A frame of the experimental protocol.
func experiment(
  to destination: [UInt8] = Ends.peer, from source: [UInt8] = Ends.host,
  type: [UInt8] = [0x88, 0xb5],
  number: UInt8 = 0, size: Int = 60
) -> [UInt8] {
  let head = destination + source + type
  return head + (0..<max(0, size - head.count)).map { UInt8(truncatingIfNeeded: $0) &+ number }
}
