// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import Kernel
internal import PacketViews

/// One message of rtnetlink about devices and what hangs at them.
enum LinkMessage {
  /// `RTM_NEWLINK`.
  case device(LinkDevice)
  /// `RTM_DELLINK`.
  case removed(LinkDevice)
  /// `NLMSG_DONE`.
  case done
  /// `NLMSG_ERROR`; 0 is an acknowledgement.
  case refused(errno: CInt)
  /// `RTM_NEWQDISC`, of one under which there are filters.
  case discipline(FilterDiscipline)
  /// `RTM_NEWTFILTER`.
  case filter(DeviceFilter)
  case other

  /// Reads the message at `cursor` and moves behind it; nil at the end and where a length is wrong.
  static func next(in bytes: RawSpan, at cursor: inout Int) -> LinkMessage? {
    let start = cursor
    guard bytes.byteCount &- start >= 16 else { return nil }
    let length = Int(bytes.host(start, as: UInt32.self))
    guard length >= 16, length <= bytes.byteCount &- start else { return nil }
    cursor = min(bytes.byteCount, start &+ ((length &+ 3) & ~3))
    let body = bytes.slice(from: start &+ 16, length: length &- 16)
    switch bytes.host(start &+ 4, as: UInt16.self) {
    case 2:
      guard body.byteCount >= 4 else { return .other }
      return .refused(errno: 0 &- body.host(0, as: CInt.self))
    case 3: return .done
    case 16: return device(body).map { .device($0) } ?? .other
    case 17: return device(body).map { .removed($0) } ?? .other
    case 36: return discipline(body).map { .discipline($0) } ?? .other
    case 44: return filter(body).map { .filter($0) } ?? .other
    default: return .other
    }
  }

  private static func device(_ body: RawSpan) -> LinkDevice? {
    // A bridge tells of its ports in messages of its own family.
    guard body.byteCount >= 16, body.byte(at: 0) == UInt8(AF_UNSPEC) else { return nil }
    var device = LinkDevice(
      index: body.host(4), kind: body.host(2), flags: body.host(8))
    var cursor = 16
    while let (type, value) = attribute(in: body, at: &cursor) {
      let field = body.slice(from: value.lowerBound, length: value.count)
      switch type {
      case 1 where field.byteCount == 6:  // IFLA_ADDRESS
        let high = UInt64(field.bigEndian32(at: 0))
        device.address = MACAddress(rawValue: high << 16 | UInt64(field.bigEndian16(at: 4)))
      case 3: device.name = text(field)  // IFLA_IFNAME
      case 4 where field.byteCount >= 4: device.mtu = field.host(0)  // IFLA_MTU
      case 10 where field.byteCount >= 4: device.master = field.host(0)  // IFLA_MASTER
      case 18: device.driver = driver(field)  // IFLA_LINKINFO
      case 20: device.alias = text(field)  // IFLA_IFALIAS
      case 41 where field.byteCount >= 4:  // IFLA_GSO_MAX_SIZE
        device.longestSegmented = field.host(0)
      default: break
      }
    }
    return device
  }

  private static func driver(_ info: RawSpan) -> String? {
    var cursor = 0
    while let (type, value) = attribute(in: info, at: &cursor) {
      if type == 1 { return text(info.slice(from: value.lowerBound, length: value.count)) }
    }
    return nil
  }

  /// The attribute at `cursor`; nil at the end and where a length is wrong.
  static func attribute(
    in bytes: RawSpan, at cursor: inout Int
  ) -> (type: UInt16, value: Range<Int>)? {
    let start = cursor
    guard bytes.byteCount &- start >= 4 else { return nil }
    let length = Int(bytes.host(start, as: UInt16.self))
    guard length >= 4, length <= bytes.byteCount &- start else { return nil }
    cursor = min(bytes.byteCount, start &+ ((length &+ 3) & ~3))
    return (bytes.host(start &+ 2, as: UInt16.self) & 0x3fff, start &+ 4..<start &+ length)
  }

  static func text(_ bytes: RawSpan) -> String {
    var text: [UInt8] = []
    while text.count < bytes.byteCount, bytes.byte(at: text.count) != 0 {
      text.append(bytes.byte(at: text.count))
    }
    return String(decoding: text, as: UTF8.self)
  }
}

/// A socket for the kernel's list of devices.
struct LinkSocket: ~Copyable {
  private let descriptor: OwnedDescriptor

  init(watching: Bool) throws(LinkError) {
    let number = clx_open_links(watching)
    guard number >= 0 else { throw .system(.current("open rtnetlink")) }
    descriptor = OwnedDescriptor(owning: number)
  }

  var number: CInt { descriptor.number }
}

/// Room for what one read of rtnetlink gives.
struct LinkBuffer: ~Copyable {
  private var storage = [UInt8](repeating: 0, count: 64 << 10)
  private var count = 0
  private var cursor = 0

  /// Reads one datagram; false with errno if there is none.
  mutating func fill(from descriptor: CInt) -> Bool {
    let result = unsafe storage.withUnsafeMutableBytes { buffer in
      retryingInterrupts { unsafe recv(descriptor, buffer.baseAddress, buffer.count, 0) }
    }
    count = max(0, result)
    cursor = 0
    return result >= 0
  }

  /// The next message of it.
  mutating func next() -> LinkMessage? {
    var position = cursor
    defer { cursor = position }
    return LinkMessage.next(
      in: storage.span.packetBytes.slice(from: 0, length: count), at: &position)
  }
}
