// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import Kernel

/// What became of a frame that was to be put back or injected.
public enum FrameSendResult: Sendable, Hashable {
  /// The kernel took it.
  case sent
  /// The device is down. `ENETDOWN`.
  case deviceDown
  /// The device is gone. `ENXIO`, `ENODEV`.
  case deviceGone
  /// It is longer than what the device and the helper take. `EMSGSIZE`.
  case tooLong
  /// It is shorter than a MAC header, or no IP packet on a device of these.
  case malformed
  /// Memory or the device's queue is full. `ENOBUFS`, `EAGAIN`, `ENOMEM`.
  case noRoom
  /// Any other answer of the kernel, `EINVAL` for an offload that it does not know.
  case refused(errno: CInt)

  init(errno: CInt) {
    self =
      switch errno {
      case ENETDOWN: .deviceDown
      case ENXIO, ENODEV: .deviceGone
      case EMSGSIZE: .tooLong
      case ENOBUFS, EAGAIN, ENOMEM: .noRoom
      default: .refused(errno: errno)
      }
  }
}

/// A packet socket that sends by one device.
final class FrameSocket: Sendable {
  private let descriptor: OwnedDescriptor
  /// Whether messages may carry their priority (6.14).
  let takesPriority: Bool

  /// The trail of what has none yet.
  let trail: FrameTrail

  init(device: UInt32, takesPriority: Bool, trail: FrameTrail) throws(SystemError) {
    descriptor = try OwnedDescriptor(
      checking: clx_open_frame_sender(device, trail.rawValue), operation: "open a packet socket")
    self.takesPriority = takesPriority
    self.trail = trail
  }

  /// Whether messages may carry their priority, asked of a device that is up.
  static func takesPriority(askingOf device: UInt32) throws(SystemError) -> Bool {
    let socket = try FrameSocket(device: device, takesPriority: false, trail: .none)
    return clx_takes_priority(socket.number)
  }

  var number: CInt { descriptor.number }

  /// Sends one message of two pieces, the first of which begins with a virtio header.
  ///
  /// The trail is set before, as the priority where messages carry none: not for two threads at once.
  func send(
    _ head: UnsafeRawBufferPointer, _ rest: UnsafeRawBufferPointer, mark: UInt32, priority: UInt32,
    trail: FrameTrail
  ) -> FrameSendResult {
    set(trail)
    if !takesPriority { _ = clx_set_priority(number, priority) }
    for _ in 0..<2 {
      let sent = unsafe clx_send_frame(
        number, head.baseAddress, head.count, rest.baseAddress, rest.count, mark, priority,
        takesPriority)
      if sent >= 0 { return .sent }
      guard errno == ENOBUFS || errno == EINTR else { break }
    }
    return FrameSendResult(errno: errno)
  }
}

extension FrameSocket {
  /// Has what is sent from now on bear a trail.
  func set(_ trail: FrameTrail) { _ = clx_set_trail(number, trail.rawValue) }
}

/// Messages that go out with one call, each with its own mark and priority.
///
/// `sendmmsg` with `SO_MARK` and `SO_PRIORITY` control messages.
@safe
struct FrameTransmission: ~Copyable {
  private let headers: UnsafeMutablePointer<clx_mmsghdr>
  private let vectors: UnsafeMutablePointer<iovec>
  private let controls: UnsafeMutablePointer<clx_frame_control>
  private let takesPriority: Bool
  /// Which frame of the batch each message is.
  private var frames: [64 of UInt8]
  private(set) var count = 0
  /// The priority that the socket has where messages carry none.
  private var socketPriority: UInt32 = 0
  /// The trail of each message, and the one that the socket has.
  private var trails: [64 of UInt32] = .init(repeating: 0)
  private var socketTrail: FrameTrail
  /// Whether a message has another one.
  private var differ = false

  init(takesPriority: Bool, trail: FrameTrail) {
    let capacity = FrameBatch.capacity
    self.takesPriority = takesPriority
    socketTrail = trail
    unsafe headers = .allocate(capacity: capacity)
    unsafe vectors = .allocate(capacity: capacity)
    unsafe controls = .allocate(capacity: capacity)
    frames = .init(repeating: 0)
    for index in 0..<capacity {
      unsafe (vectors + index).initialize(to: iovec())
      unsafe (controls + index).initialize(to: clx_frame_control())
      unsafe clx_prepare_control(controls + index)
      var message = unsafe clx_mmsghdr()
      unsafe message.header.msg_iov = vectors + index
      unsafe message.header.msg_iovlen = 1
      unsafe message.header.msg_control = UnsafeMutableRawPointer(controls + index)
      unsafe (headers + index).initialize(to: message)
    }
  }

  deinit {
    unsafe headers.deallocate()
    unsafe vectors.deallocate()
    unsafe controls.deallocate()
  }

  mutating func removeAll() {
    count = 0
    differ = false
  }

  /// Adds a frame of the batch; there is room for all of them.
  mutating func append(
    _ message: UnsafeMutableRawBufferPointer, frame: Int, mark: UInt32, priority: UInt32,
    trail: FrameTrail
  ) {
    guard count < FrameBatch.capacity else { return }
    unsafe vectors[count] = iovec(iov_base: message.baseAddress, iov_len: message.count)
    unsafe clx_set_control(controls + count, mark, priority)
    // Without the second part the kernel need not allocate for the first.
    let control = MemoryLayout<clx_frame_control>.size
    unsafe headers[count].header.msg_controllen =
      takesPriority && priority != 0 ? control : control / 2
    frames[count] = UInt8(truncatingIfNeeded: frame)
    trails[count] = trail.rawValue
    if trail != socketTrail { differ = true }
    count &+= 1
  }

  /// Which frame of the batch a message is.
  func frame(_ message: Int) -> Int { Int(frames[message]) }

  /// Sends messages from one on until the kernel refuses one; returns how many it took.
  mutating func send(from first: Int, by socket: FrameSocket) -> Int {
    guard first < count else { return 0 }
    var end = count
    if !socket.takesPriority { end = prepareRun(from: first, socket) }
    if differ { end = prepareTrail(from: first, to: end, socket) }
    let taken = unsafe clx_sendmmsg(
      socket.number, headers + first, UInt32(end &- first), CInt(MSG_DONTWAIT))
    return max(0, Int(taken))
  }

  /// Gives the socket the trail of a message; returns the end of those that have the same.
  private mutating func prepareTrail(from first: Int, to limit: Int, _ socket: FrameSocket) -> Int {
    let trail = FrameTrail(rawValue: trails[first])
    if trail != socketTrail { socket.set(trail) }
    socketTrail = trail
    var end = first &+ 1
    while end < limit, trails[end] == trail.rawValue { end &+= 1 }
    return end
  }

  /// Gives the socket the priority of a message; returns the end of those that have the same.
  private mutating func prepareRun(from first: Int, _ socket: FrameSocket) -> Int {
    let priority = unsafe controls[first].priority.2
    if priority != UInt64(socketPriority) {
      socketPriority = UInt32(truncatingIfNeeded: priority)
      _ = clx_set_priority(socket.number, socketPriority)
    }
    var end = first &+ 1
    while end < count, unsafe controls[end].priority.2 == priority { end &+= 1 }
    return end
  }
}
