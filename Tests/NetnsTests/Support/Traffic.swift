// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// Calls `body` with the C form of an address.
func withAddress<Result>(
  _ text: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
  if text.contains(":") {
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_port = port.bigEndian
    inet_pton(AF_INET6, text, &address.sin6_addr)
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
      }
    }
  }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  inet_pton(AF_INET, text, &address.sin_addr)
  return withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
}

/// A connected UDP socket whose datagrams begin with a sequence number and a flow number.
final class Sender: Sendable {
  private let descriptor: Int32
  private let flow: UInt32

  init(
    in namespace: String? = nil, to address: String, port: UInt16 = 7, mark: UInt32 = 0,
    from: UInt16 = 0, flow: UInt32 = 0, hasRoom: Bool = false
  ) {
    self.flow = flow
    let isIPv6 = address.contains(":")
    descriptor = inNamespace(namespace) {
      socket(isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    }
    precondition(descriptor >= 0)
    // Packets that wait in a queue are charged to their sender: too small, and send would block.
    if hasRoom {
      var bytes: Int32 = 64 << 20
      setsockopt(descriptor, SOL_SOCKET, 32 /* SO_SNDBUFFORCE */, &bytes, 4)
    }
    if mark != 0 {
      var mark = mark
      precondition(setsockopt(descriptor, SOL_SOCKET, SO_MARK, &mark, 4) == 0)
    }
    if from != 0 {
      let bound = withAddress(isIPv6 ? "::" : "0.0.0.0", from) { bind(descriptor, $0, $1) }
      precondition(bound == 0)
    }
    let connected = withAddress(address, port) { connect(descriptor, $0, $1) }
    precondition(connected == 0, "connect to \(address): \(errno)")
  }

  deinit { close(descriptor) }

  /// False if the kernel refused the datagram, as it does when a hook dropped it.
  @discardableResult
  func send(_ sequence: UInt64, size: Int = 32) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: max(size, 12), alignment: 8) { bytes in
      bytes.initializeMemory(as: UInt8.self, repeating: 0x5a)
      bytes.storeBytes(of: sequence.bigEndian, as: UInt64.self)
      bytes.storeBytes(of: flow.bigEndian, toByteOffset: 8, as: UInt32.self)
      while true {
        let count = Glibc.send(descriptor, bytes.baseAddress, bytes.count, 0)
        if count >= 0 { return true }
        // An ICMP error of an earlier datagram.
        if errno == ECONNREFUSED || errno == EINTR { continue }
        return false
      }
    }
  }

  /// Sends `count` datagrams from sequence number `first` on; returns how many the kernel took.
  @discardableResult
  func send(count: Int, first: UInt64 = 0, size: Int = 32) -> Int {
    var taken = 0
    for number in 0..<UInt64(count) where send(first + number, size: size) { taken += 1 }
    return taken
  }
}

/// A UDP socket that a thread of its own reads, noting sequence numbers.
final class Receiver: Sendable {
  struct Log: Sendable {
    var count = 0
    /// Datagrams that came after a later one of their flow.
    var late = 0
    var last: [UInt32: UInt64] = [:]
    var sequences: [UInt64] = []
    var lastPayload: [UInt8] = []
  }

  private let descriptor: Int32
  private let shared = SharedLog()
  private let thread: Background

  init(
    in namespace: String? = nil, isIPv6: Bool = false, port: UInt16 = 7, group: String? = nil,
    keeping: Bool = true, cpu: Int? = nil
  ) {
    let descriptor = inNamespace(namespace) {
      socket(isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    }
    precondition(descriptor >= 0)
    self.descriptor = descriptor
    var bytes: Int32 = 256 << 20
    setsockopt(descriptor, SOL_SOCKET, 33 /* SO_RCVBUFFORCE */, &bytes, 4)
    var one: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, 4)
    let bound = withAddress(isIPv6 ? "::" : "0.0.0.0", port) { bind(descriptor, $0, $1) }
    precondition(bound == 0)
    if let group {
      var request = ip_mreq()
      inet_pton(AF_INET, group, &request.imr_multiaddr)
      inet_pton(AF_INET, "10.9.1.1", &request.imr_interface)
      let joined = setsockopt(
        descriptor, Int32(IPPROTO_IP), IP_ADD_MEMBERSHIP, &request,
        socklen_t(MemoryLayout<ip_mreq>.size))
      precondition(joined == 0)
    }
    thread = Background { [shared] in
      if let cpu { stay(on: cpu) }
      Self.read(descriptor, shared, keeping)
    }
  }

  private final class SharedLog: Sendable {
    let log = Mutex(Log())
  }

  deinit {
    // Wakes the reader: a UDP socket that is shut down returns 0 for ever.
    shutdown(descriptor, Int32(SHUT_RDWR))
    thread.join()
    close(descriptor)
  }

  private static func read(_ descriptor: Int32, _ shared: SharedLog, _ keeping: Bool) {
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let length = recv(descriptor, &buffer, buffer.count, 0)
      guard length >= 12 else {
        if length < 0, errno == EINTR { continue }
        return
      }
      let (sequence, flow) = buffer.withUnsafeBytes { bytes in
        (
          UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
          UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
        )
      }
      shared.log.withLock { log in
        log.count += 1
        if let last = log.last[flow], last > sequence { log.late += 1 }
        log.last[flow] = sequence
        if keeping {
          log.sequences.append(sequence)
          log.lastPayload = Array(buffer.prefix(length))
        }
      }
    }
  }

  var contents: Log { shared.log.withLock { $0 } }
  var count: Int { shared.log.withLock { $0.count } }
}

/// A thread that can be waited for.
final class Background: Sendable {
  private let done = DispatchSemaphore(value: 0)
  private let isJoined = Mutex(false)

  init(_ body: @escaping @Sendable () -> Void) {
    let done = done
    Thread.detachNewThread {
      body()
      done.signal()
    }
  }

  func join() {
    isJoined.withLock { isJoined in
      if !isJoined { done.wait() }
      isJoined = true
    }
  }
}

/// Sends one UDP datagram from 10.9.1.2 to 10.9.1.1 port 7 in four fragments of 8 bytes.
final class FragmentSender: Sendable {
  private let descriptor: Int32

  init(in namespace: String) {
    descriptor = inNamespace(namespace) { socket(AF_INET, Int32(SOCK_RAW.rawValue), 255) }
    precondition(descriptor >= 0)
  }

  deinit { close(descriptor) }

  /// Sends the fragments of these numbers, in this order.
  func send(_ order: [Int]) {
    var datagram: [UInt8] = [0, 9, 0, 7, 0, 32, 0, 0]
    datagram += [UInt8](repeating: 0x5a, count: 24)
    for number in order {
      let fields = UInt16(number) | (number < 3 ? 0x2000 : 0)
      var packet: [UInt8] = [0x45, 0, 0, 28, 0x12, 0x34, UInt8(fields >> 8), UInt8(fields & 0xff)]
      packet += [64, 17, 0, 0, 10, 9, 1, 2, 10, 9, 1, 1]
      packet += datagram[number * 8..<number * 8 + 8]
      let sent = withAddress("10.9.1.1", 0) {
        sendto(descriptor, packet, packet.count, 0, $0, $1)
      }
      precondition(sent == packet.count)
    }
  }
}

/// Sends whole IPv4 packets to 10.9.1.1.
func sendRaw(_ packet: [UInt8], in namespace: String) {
  let descriptor = inNamespace(namespace) { socket(AF_INET, Int32(SOCK_RAW.rawValue), 255) }
  precondition(descriptor >= 0)
  defer { close(descriptor) }
  let sent = withAddress("10.9.1.1", 0) { sendto(descriptor, packet, packet.count, 0, $0, $1) }
  precondition(sent == packet.count)
}

/// A bound UDP socket that nobody reads.
final class IdleSocket: Sendable {
  private let descriptor: Int32

  init(port: UInt16, receiveBuffer: Int32 = 1 << 20) {
    descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    precondition(descriptor >= 0)
    var bytes = receiveBuffer
    setsockopt(descriptor, SOL_SOCKET, 33 /* SO_RCVBUFFORCE */, &bytes, 4)
    let bound = withAddress("0.0.0.0", port) { bind(descriptor, $0, $1) }
    precondition(bound == 0)
  }

  /// The size of the first datagram that waits.
  var pendingBytes: Int32 {
    var count: Int32 = 0
    return ioctl(descriptor, UInt(FIONREAD), &count) == 0 ? count : -1
  }

  func close() { Glibc.close(descriptor) }
}

/// Keeps the calling thread on one processor.
func stay(on cpu: Int) {
  typealias SetAffinity = @convention(c) (Int32, Int, UnsafePointer<UInt64>) -> Int32
  let setAffinity = unsafeBitCast(dlsym(nil, "sched_setaffinity"), to: SetAffinity.self)
  var set: UInt64 = 1 << UInt64(cpu)
  precondition(setAffinity(0, 8, &set) == 0)
}
