// SPDX-License-Identifier: Apache-2.0

/// One line of `/proc/self/net/netfilter/nfnetlink_queue`: a queue that somebody has bound.
public struct QueueStatus: Sendable, Hashable {
  /// The queue's number.
  public var number: UInt16
  /// The netlink port of its owner; usually, but not always, a process id.
  public var portID: UInt32
  /// Packets that wait for a verdict.
  ///
  /// Corresponds to `queue_total`.
  public var waiting: UInt32
  /// 0 nothing, 1 metadata, 2 packets.
  ///
  /// Corresponds to `NFQNL_COPY_NONE` and its siblings.
  public var copyMode: UInt8
  /// The most bytes of a packet that are copied.
  public var copyRange: UInt32
  /// Packets dropped because the queue was full.
  public var queueDropped: UInt32
  /// Packets dropped because they could not be sent to the owner.
  public var userDropped: UInt32
  /// The last packet id given out.
  ///
  /// Corresponds to `id_sequence`.
  public var lastID: UInt32

  /// Makes a status from its parts.
  public init(
    number: UInt16, portID: UInt32, waiting: UInt32, copyMode: UInt8, copyRange: UInt32,
    queueDropped: UInt32, userDropped: UInt32, lastID: UInt32
  ) {
    self.number = number
    self.portID = portID
    self.waiting = waiting
    self.copyMode = copyMode
    self.copyRange = copyRange
    self.queueDropped = queueDropped
    self.userDropped = userDropped
    self.lastID = lastID
  }

  /// Reads one line; nil if a column is missing or out of range.
  ///
  /// Columns that later kernels may append are left alone.
  public init?(line: some StringProtocol) {
    let columns = line.split(separator: " ", omittingEmptySubsequences: true)
    guard columns.count >= 8, let number = UInt16(columns[0]), let portID = UInt32(columns[1]),
      let waiting = UInt32(columns[2]), let copyMode = UInt8(columns[3]),
      let copyRange = UInt32(columns[4]), let queueDropped = UInt32(columns[5]),
      let userDropped = UInt32(columns[6]), let lastID = UInt32(columns[7])
    else { return nil }
    self.init(
      number: number, portID: portID, waiting: waiting, copyMode: copyMode,
      copyRange: copyRange, queueDropped: queueDropped, userDropped: userDropped, lastID: lastID)
  }

  /// Every bound queue of this thread's network namespace; empty if the kernel has no NFQUEUE.
  public static func all() -> [QueueStatus] {
    let text = (try? KernelFile.text("/proc/thread-self/net/netfilter/nfnetlink_queue")) ?? nil
    return (text ?? "").split(separator: "\n").compactMap { QueueStatus(line: $0) }
  }

  /// The name of the process that the netlink port belongs to, if it can be found.
  ///
  /// A process' first netlink socket gets the process id as its port; others get numbers above
  /// 2³¹, which name nobody. A port that is no process id of this PID namespace gives nil or, if
  /// that id was used again, a wrong name: for messages only.
  public var ownerName: String? {
    guard portID > 0, portID <= UInt32(Int32.max) else { return nil }
    let text = (try? KernelFile.text("/proc/\(portID)/comm")) ?? nil
    let name = (text ?? "").prefix { $0 != "\n" }
    return name.isEmpty ? nil : String(name)
  }
}
