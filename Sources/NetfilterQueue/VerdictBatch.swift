// SPDX-License-Identifier: Apache-2.0

internal import CNetfilter
internal import Glibc

/// Verdicts packed into one flat buffer and sent to the kernel with one call.
///
/// Used by the thread that owns the queue only.
@safe
public final class VerdictBatch {
  /// Ids in a row that get the same; `id` is the last of them.
  private struct Run {
    var id: UInt32 = 0
    var verdict: UInt32 = 0
    var mark: UInt32?

    @inline(__always)
    func isFollowed(by next: Run) -> Bool {
      id &+ 1 == next.id && verdict == next.verdict && mark == next.mark
    }
  }

  private struct State {
    var used = 0
    /// Where the message begins that the next verdict can join, -1 if none can be joined.
    var last = -1
    var run = Run()
    var verdicts: UInt64 = 0
    var messages: UInt64 = 0
    var unsent: UInt64 = 0
  }

  private static let capacity = 256 << 10
  private static let sendAttempts = 1000
  private static let plainBytes = 32
  private static let markBytes = 8
  private static let tagBytes = 20

  private let buffer: UnsafeMutableRawPointer
  private let state: UnsafeMutablePointer<State>
  private let descriptor: CInt
  private let queue: UInt16

  init(descriptor: CInt, queue: UInt16) {
    self.descriptor = descriptor
    self.queue = queue
    unsafe buffer = .allocate(byteCount: Self.capacity, alignment: 64)
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(to: State())
  }

  deinit {
    unsafe state.deallocate()
    unsafe buffer.deallocate()
  }

  /// Packets decided so far.
  public var verdictCount: UInt64 { unsafe state.pointee.verdicts }
  /// Messages these took; fewer than the packets where runs were merged.
  public var messageCount: UInt64 { unsafe state.pointee.messages }
  /// Packets whose verdicts the kernel would not take: they wait until the queue is closed.
  public var unsentCount: UInt64 { unsafe state.pointee.unsent }

  /// Adds a verdict; `mark`, if given, replaces all 32 bits of the packet's mark.
  ///
  /// `mergeable` promises that every id below this one has been decided: then a run of ids in a row
  /// with equal verdicts and marks becomes one `NFQNL_MSG_VERDICT_BATCH`.
  public func append(_ id: UInt32, _ verdict: Verdict, mark: UInt32?, mergeable: Bool) {
    unsafe state.pointee.verdicts &+= 1
    // A batch message decides every id up to its own, also one whose verdict could not be sent.
    let mergeable = unsafe mergeable && state.pointee.unsent == 0
    let run = Run(id: id, verdict: verdict.rawValue, mark: mark)
    if mergeable, unsafe state.pointee.last >= 0, unsafe state.pointee.run.isFollowed(by: run) {
      let message = unsafe buffer + state.pointee.last
      unsafe message.storeBytes(
        of: CNF_MESSAGE_VERDICT_BATCH, toByteOffset: 4, as: UInt16.self)
      unsafe message.storeBytes(of: id.bigEndian, toByteOffset: 28, as: UInt32.self)
      let packets = unsafe message.load(fromByteOffset: 8, as: UInt32.self) &+ 1
      unsafe message.storeBytes(of: packets, toByteOffset: 8, as: UInt32.self)
      unsafe state.pointee.run.id = id
      return
    }
    let length = Self.plainBytes &+ (mark == nil ? 0 : Self.markBytes)
    let message = unsafe begin(id, run.verdict, length)
    if let mark { unsafe Self.put(mark, at: message + Self.plainBytes) }
    unsafe state.pointee.run = run
    unsafe state.pointee.last = mergeable ? state.pointee.used : -1
    unsafe state.pointee.used &+= length
  }

  /// Adds a verdict with a new payload (a whole IP packet of at most 65531 bytes, which
  /// is what an attribute can hold).
  public func append(
    _ id: UInt32, _ verdict: Verdict, mark: UInt32?, payload: Span<UInt8>
  ) {
    precondition(payload.count <= Int(QueueOptions.wholePacket))
    let head = Self.plainBytes + (mark == nil ? 0 : Self.markBytes)
    let attribute = 4 + payload.count
    let length = head + (attribute + 3) & ~3
    unsafe state.pointee.verdicts &+= 1
    let message = unsafe begin(id, verdict.rawValue, length)
    if let mark { unsafe Self.put(mark, at: message + Self.plainBytes) }
    unsafe message.storeBytes(of: UInt16(attribute), toByteOffset: head, as: UInt16.self)
    unsafe message.storeBytes(
      of: UInt16(NFQA_PAYLOAD.rawValue), toByteOffset: head + 2, as: UInt16.self)
    unsafe payload.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      unsafe (message + head + 4).copyMemory(from: base, byteCount: bytes.count)
    }
    for padding in (head + attribute)..<length {
      unsafe message.storeBytes(of: 0, toByteOffset: padding, as: UInt8.self)
    }
    unsafe state.pointee.last = -1
    unsafe state.pointee.used += length
  }

  /// Adds a verdict with a new MAC header of a bridged frame, whose old one must have been of
  /// `BridgedHeader.length` bytes too: the kernel would lose the frame otherwise.
  ///
  /// `NFQA_L2HDR`, `NFQA_VLAN`.
  public func append(_ id: UInt32, _ verdict: Verdict, mark: UInt32?, header: BridgedHeader) {
    let head = Self.plainBytes + (mark == nil ? 0 : Self.markBytes)
    let link = 4 + BridgedHeader.length
    let linkEnd = head + (link + 3) & ~3
    let length = linkEnd + (header.tag == nil ? 0 : Self.tagBytes)
    unsafe state.pointee.verdicts &+= 1
    let message = unsafe begin(id, verdict.rawValue, length)
    if let mark { unsafe Self.put(mark, at: message + Self.plainBytes) }
    unsafe Self.put(UInt16(link), UInt16(CNF_ATTRIBUTE_L2HDR), at: message + head)
    for index in header.link.indices {
      unsafe message.storeBytes(
        of: header.link[index], toByteOffset: head + 4 + index, as: UInt8.self)
    }
    for padding in (head + link)..<linkEnd {
      unsafe message.storeBytes(of: 0, toByteOffset: padding, as: UInt8.self)
    }
    if let tag = header.tag { unsafe Self.put(tag: tag, at: message + linkEnd) }
    unsafe state.pointee.last = -1
    unsafe state.pointee.used += length
  }

  /// Sends what has been added.
  ///
  /// The kernel carries the packets on inside this call.
  public func flush() {
    let used = unsafe state.pointee.used
    guard used > 0 else { return }
    unsafe state.pointee.used = 0
    unsafe state.pointee.last = -1
    if unsafe !isSent(buffer, used) { sendEach(used) }
  }

  /// Where memory is short, a single message may still find some.
  private func sendEach(_ used: Int) {
    var offset = 0
    while offset < used {
      let message = unsafe buffer + offset
      let length = Int(unsafe message.load(as: UInt32.self))
      let packets = unsafe message.load(fromByteOffset: 8, as: UInt32.self)
      if packets > 1, unsafe state.pointee.unsent > 0 {
        unsafe sendSingly(message, length, packets)
      } else if unsafe !isSent(message, length) {
        unsafe state.pointee.unsent &+= UInt64(packets)
      }
      offset += (length + 3) & ~3
    }
  }

  /// Sends a batch message's verdicts one by one: its ids are in a row.
  private func sendSingly(_ message: UnsafeMutableRawPointer, _ length: Int, _ packets: UInt32) {
    let last = unsafe UInt32(bigEndian: message.load(fromByteOffset: 28, as: UInt32.self))
    unsafe message.storeBytes(of: CNF_MESSAGE_VERDICT, toByteOffset: 4, as: UInt16.self)
    unsafe message.storeBytes(of: 1, toByteOffset: 8, as: UInt32.self)
    unsafe state.pointee.messages &+= UInt64(packets &- 1)
    for behind in (0..<packets).reversed() {
      unsafe message.storeBytes(
        of: (last &- behind).bigEndian, toByteOffset: 28, as: UInt32.self)
      if unsafe !isSent(message, length) { unsafe state.pointee.unsent &+= 1 }
    }
  }

  private func isSent(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
    for _ in 0..<Self.sendAttempts {
      if unsafe send(descriptor, bytes, count, 0) >= 0 { return true }
      guard errno == EINTR || errno == ENOBUFS || errno == ENOMEM || errno == EAGAIN else { break }
    }
    return false
  }

  @inline(__always)
  private func begin(_ id: UInt32, _ verdict: UInt32, _ length: Int) -> UnsafeMutableRawPointer {
    if unsafe state.pointee.used &+ length > Self.capacity { flush() }
    unsafe state.pointee.messages &+= 1
    let message = unsafe buffer + state.pointee.used
    unsafe message.storeBytes(of: UInt32(length), as: UInt32.self)
    unsafe message.storeBytes(of: CNF_MESSAGE_VERDICT, toByteOffset: 4, as: UInt16.self)
    unsafe message.storeBytes(of: UInt16(NLM_F_REQUEST), toByteOffset: 6, as: UInt16.self)
    // The sequence number counts the message's packets: a refusal brings it back.
    unsafe message.storeBytes(of: 1, toByteOffset: 8, as: UInt32.self)
    unsafe message.storeBytes(of: 0, toByteOffset: 12, as: UInt32.self)
    unsafe message.storeBytes(of: 0, toByteOffset: 16, as: UInt16.self)
    unsafe message.storeBytes(of: queue.bigEndian, toByteOffset: 18, as: UInt16.self)
    unsafe message.storeBytes(of: 12, toByteOffset: 20, as: UInt16.self)
    unsafe message.storeBytes(
      of: UInt16(NFQA_VERDICT_HDR.rawValue), toByteOffset: 22, as: UInt16.self)
    unsafe message.storeBytes(of: verdict.bigEndian, toByteOffset: 24, as: UInt32.self)
    unsafe message.storeBytes(of: id.bigEndian, toByteOffset: 28, as: UInt32.self)
    return unsafe message
  }

  /// A nest of protocol and control information, each in network order.
  private static func put(tag: UInt32, at nest: UnsafeMutableRawPointer) {
    unsafe put(UInt16(tagBytes), UInt16(CNF_ATTRIBUTE_VLAN) | 0x8000 /* NLA_F_NESTED */, at: nest)
    let parts = [UInt16(tag >> 16), UInt16(truncatingIfNeeded: tag)] as [2 of UInt16]
    for index in parts.indices {
      let part = unsafe nest + 4 + index * 8
      // NFQA_VLAN_PROTO, NFQA_VLAN_TCI.
      unsafe put(6, UInt16(1 + index), at: part)
      unsafe part.storeBytes(of: parts[index].bigEndian, toByteOffset: 4, as: UInt16.self)
      unsafe part.storeBytes(of: 0, toByteOffset: 6, as: UInt16.self)
    }
  }

  private static func put(
    _ length: UInt16, _ type: UInt16, at attribute: UnsafeMutableRawPointer
  ) {
    unsafe attribute.storeBytes(of: length, as: UInt16.self)
    unsafe attribute.storeBytes(of: type, toByteOffset: 2, as: UInt16.self)
  }

  private static func put(_ mark: UInt32, at attribute: UnsafeMutableRawPointer) {
    unsafe attribute.storeBytes(of: 8, as: UInt16.self)
    unsafe attribute.storeBytes(of: UInt16(NFQA_MARK.rawValue), toByteOffset: 2, as: UInt16.self)
    unsafe attribute.storeBytes(of: mark.bigEndian, toByteOffset: 4, as: UInt32.self)
  }
}
