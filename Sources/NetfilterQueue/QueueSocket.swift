// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import CNetfilter
internal import Glibc
internal import Kernel

/// One bound NFQUEUE: the socket and the verdicts on their way back.
///
/// Closing it makes the kernel drop what still waits, so decide the waiting packets first.
public struct QueueSocket: ~Copyable {
  /// How the queue is bound.
  public private(set) var options: QueueOptions
  /// The netlink port that owns the queue.
  public let portID: UInt32
  /// Verdicts waiting for `flush`.
  public let verdicts: VerdictBatch
  private let descriptor: OwnedDescriptor
  private var sequence: UInt32 = 1

  /// Binds a queue.
  ///
  /// GSO is always asked for.
  public static func open(_ options: QueueOptions) throws(QueueError) -> QueueSocket {
    guard Capability.netAdmin.isEffective else { throw .notPermitted(queue: options.number) }
    var portID: UInt32 = 0
    let descriptor: OwnedDescriptor
    do {
      descriptor = try OwnedDescriptor(
        checking: unsafe cnf_open(&portID), operation: "open netlink socket")
    } catch {
      throw error.errno == EPROTONOSUPPORT ? .unsupported(queue: options.number) : .system(error)
    }
    guard clx_force_receive_buffer(descriptor.number, options.receiveBufferBytes) == 0,
      clx_force_send_buffer(descriptor.number, 4 << 20) == 0
    else { throw .system(.current("set socket buffers of queue \(options.number)")) }
    var socket = QueueSocket(options: options, portID: portID, descriptor: descriptor)
    try socket.configure(options, Self.flagMask, binding: true)
    return socket
  }

  /// Whether this kernel can send conntrack values.
  ///
  /// It says so before it refuses a queue of that number to a socket that has not bound it.
  public static func canSendConntrack(queue: UInt16) -> Bool {
    var portID: UInt32 = 0
    guard
      let descriptor = try? OwnedDescriptor(
        checking: unsafe cnf_open(&portID), operation: "open netlink socket")
    else { return false }
    let flag = UInt32(NFQA_CFG_F_CONNTRACK)
    var request = cnf_configuration(
      copy_range: 0, maximum_length: 0, flags: flag, flags_mask: flag)
    var refusal: CInt = 0
    // The first request may load a module, and is then to be repeated.
    for sequence in 1...2 as ClosedRange<UInt32> {
      guard unsafe cnf_configure(descriptor.number, queue, false, &request, sequence) == 0 else {
        return false
      }
      refusal = cnf_take_refusal(descriptor.number, sequence)
      if refusal != EAGAIN { break }
    }
    return refusal != EOPNOTSUPP && refusal != EAGAIN
  }

  private init(options: QueueOptions, portID: UInt32, descriptor: consuming OwnedDescriptor) {
    self.options = options
    self.portID = portID
    verdicts = VerdictBatch(descriptor: descriptor.number, queue: options.number)
    self.descriptor = descriptor
  }

  /// The descriptor to wait on for reading.
  public var pollDescriptor: CInt { descriptor.number }

  /// The receive buffer that the kernel granted, in bytes.
  public var receiveBufferBytes: Int { Int(clx_receive_buffer(descriptor.number)) }

  /// A buffer for the queue's batches.
  public func makeReceiveBuffer() -> ReceiveBuffer {
    ReceiveBuffer(slots: options.slots, slotBytes: options.slotBytes)
  }

  /// Takes what waits, without blocking.
  ///
  /// Returns how many datagrams `buffer` holds now.
  public func receive(into buffer: inout ReceiveBuffer) -> Int {
    buffer.fill(from: descriptor.number)
  }

  /// Whether a larger copy range wants a larger buffer.
  public func outgrows(_ buffer: borrowing ReceiveBuffer) -> Bool {
    options.slotBytes > buffer.slotBytes
  }

  /// Changes copy range, length and flags of the bound queue at once; no packet is lost.
  ///
  /// Messages of the old range may still come: a buffer that serves must be large enough for both.
  public mutating func reconfigure(_ options: QueueOptions) throws(QueueError) {
    _ = clx_force_receive_buffer(descriptor.number, options.receiveBufferBytes)
    let asksConntrack = options.includesConntrack != self.options.includesConntrack
    try configure(options, Self.flagMask & ~NFQA_CFG_F_CONNTRACK, binding: false)
    // Apart: where the kernel refuses it, it refuses the whole message.
    if asksConntrack { try configure(options, NFQA_CFG_F_CONNTRACK, binding: false) }
    // A refusal would come among the packets, long after.
    let status = QueueStatus.all().first { $0.number == options.number }
    guard status?.portID == portID, status?.copyRange == options.copyRange else {
      throw .notReconfigured(queue: options.number)
    }
    self.options = options
  }

  /// Gives the queue back; the kernel drops what still waits in it.
  ///
  /// `NFQNL_CFG_CMD_UNBIND`.
  public mutating func unbind() {
    verdicts.flush()
    _ = cnf_unbind(descriptor.number, options.number, nextSequence())
  }

  /// Lets no further packets in: they pass unseen, or are dropped and counted.
  ///
  /// What waits stays.
  public mutating func closeIntake(passing: Bool) {
    var flags = NFQA_CFG_F_GSO
    if passing { flags |= NFQA_CFG_F_FAIL_OPEN }
    var configuration = cnf_configuration(
      copy_range: options.copyRange, maximum_length: 0, flags: UInt32(flags),
      flags_mask: UInt32(NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN))
    _ = unsafe cnf_configure(
      descriptor.number, options.number, false, &configuration, nextSequence())
  }

  private mutating func nextSequence() -> UInt32 {
    sequence &+= 1
    return sequence
  }

  private static let flagMask =
    NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_UID_GID | NFQA_CFG_F_CONNTRACK

  private mutating func configure(
    _ options: QueueOptions, _ mask: CInt, binding: Bool
  ) throws(QueueError) {
    var flags = NFQA_CFG_F_GSO
    if options.failOpen { flags |= NFQA_CFG_F_FAIL_OPEN }
    if options.includesOwner { flags |= NFQA_CFG_F_UID_GID }
    if options.includesConntrack { flags |= NFQA_CFG_F_CONNTRACK }
    var configuration = cnf_configuration(
      copy_range: options.copyRange, maximum_length: options.maximumLength,
      flags: UInt32(flags), flags_mask: UInt32(mask))
    let sequence = nextSequence()
    guard
      unsafe cnf_configure(
        descriptor.number, options.number, binding, &configuration, sequence) == 0
    else { throw .system(.current("configure queue \(options.number)")) }
    if binding {
      let refusal = cnf_take_refusal(descriptor.number, sequence)
      if refusal != 0 { throw Self.explain(refusal, options) }
    }
  }

  private static func explain(_ errno: CInt, _ options: QueueOptions) -> QueueError {
    let owner = QueueStatus.all().first { $0.number == options.number }
    switch errno {
    case EPERM, EBUSY, EEXIST:
      guard let owner else { return .notPermitted(queue: options.number) }
      return .owned(queue: options.number, portID: owner.portID, process: owner.ownerName)
    case EOPNOTSUPP where options.includesConntrack, EAGAIN where options.includesConntrack:
      return .flagRefused(queue: options.number, flag: "NFQA_CFG_F_CONNTRACK")
    case EINVAL, EPROTONOSUPPORT:
      return .unsupported(queue: options.number)
    default:
      return .system(SystemError("bind queue \(options.number)", errno: errno))
    }
  }
}
