// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// Fixed slots that one `recvmmsg` call fills with netlink datagrams.
@safe
public struct ReceiveBuffer: ~Copyable {
  /// How many datagrams the last `fill` brought.
  public private(set) var count = 0
  /// The size of one slot in bytes.
  public let slotBytes: Int
  /// How many datagrams one `fill` can bring.
  public let slots: Int
  private let bytes: UnsafeMutableRawPointer
  private let vectors: UnsafeMutablePointer<iovec>
  private let headers: UnsafeMutablePointer<clx_mmsghdr>

  init(slots: Int, slotBytes: Int) {
    self.slots = slots
    self.slotBytes = slotBytes
    unsafe bytes = .allocate(byteCount: slots * slotBytes, alignment: 64)
    unsafe vectors = .allocate(capacity: slots)
    unsafe headers = .allocate(capacity: slots)
    for index in 0..<slots {
      unsafe (vectors + index).initialize(
        to: iovec(iov_base: bytes + index * slotBytes, iov_len: slotBytes))
      var message = unsafe clx_mmsghdr()
      unsafe message.header.msg_iov = vectors + index
      unsafe message.header.msg_iovlen = 1
      unsafe (headers + index).initialize(to: message)
    }
  }

  deinit {
    unsafe headers.deallocate()
    unsafe vectors.deallocate()
    unsafe bytes.deallocate()
  }

  mutating func fill(from descriptor: CInt) -> Int {
    let result = unsafe clx_recvmmsg(
      descriptor, headers, UInt32(slots), CInt(MSG_DONTWAIT))
    count = max(0, Int(result))
    return count
  }

  /// Writes over a part of a received datagram, inside its slot.
  mutating func write<Value: FixedWidthInteger & BitwiseCopyable>(
    _ value: Value, _ index: Int, _ offset: Int
  ) {
    precondition(index >= 0 && index < count)
    precondition(offset >= 0 && offset <= slotBytes - MemoryLayout<Value>.size)
    unsafe (bytes + index * slotBytes + offset).storeBytes(of: value, as: Value.self)
  }

  /// One received datagram, cut to its slot, valid until the next `fill`.
  @inline(__always)
  @_lifetime(borrow self)
  public func datagram(_ index: Int) -> RawSpan {
    precondition(index >= 0 && index < count)
    let span = unsafe RawSpan(
      _unsafeStart: bytes + index &* slotBytes,
      byteCount: min(Int(headers[index].length), slotBytes))
    return unsafe _overrideLifetime(span, borrowing: self)
  }
}
