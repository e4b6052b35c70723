// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
public import Kernel
public import PacketViews

/// What a device's frames look like.
public enum LinkMedium: Sendable, Hashable {
  /// With an Ethernet header. `ARPHRD_ETHER`.
  case ethernet
  /// Plain IP packets, as of tun and WireGuard devices. `ARPHRD_NONE`, `ARPHRD_RAWIP`.
  case rawIP
  /// The loopback device. `ARPHRD_LOOPBACK`.
  case loopback
  /// Anything else.
  case other
}

/// A network device of this thread's network namespace, as the kernel described it.
public struct LinkDevice: Sendable, Hashable {
  /// The number that stays when the device is renamed.
  public var index: UInt32
  /// Its name.
  public var name = ""
  /// The hardware type, `ARPHRD_*`.
  public var kind: UInt16
  /// `IFF_*`.
  public var flags: UInt32
  /// The longest packet that it takes, without a MAC header.
  ///
  /// `IFLA_MTU`.
  public var mtu: UInt32 = 0
  /// Its own address, if that has six bytes.
  ///
  /// `IFLA_ADDRESS`.
  public var address: MACAddress?
  /// The index of the bridge, bond or the like that it belongs to.
  ///
  /// `IFLA_MASTER`.
  public var master: UInt32?
  /// Which driver made it, if that says so ("veth", "tun", "bridge").
  ///
  /// `IFLA_INFO_KIND`.
  public var driver: String?
  /// What somebody has noted at it.
  ///
  /// `IFLA_IFALIAS`.
  public var alias = ""
  /// The longest frame to be segmented that it is given.
  ///
  /// `IFLA_GSO_MAX_SIZE`.
  public var longestSegmented: UInt32?

  init(index: UInt32, kind: UInt16, flags: UInt32) {
    self.index = index
    self.kind = kind
    self.flags = flags
  }

  /// Whether it is set up (`IFF_UP`).
  public var isUp: Bool { flags & 0x1 != 0 }
  /// Whether it has a carrier as well (`IFF_RUNNING`).
  public var isRunning: Bool { flags & 0x40 != 0 }

  /// What its frames look like.
  public var medium: LinkMedium {
    if flags & 0x8 != 0 /* IFF_LOOPBACK */ { return .loopback }
    return switch kind {
    case 1: .ethernet
    case 0xfffe, 519: .rawIP
    case 772: .loopback
    default: .other
    }
  }

  /// The device of that index, nil if there is none.
  public static func find(index: UInt32) throws(LinkError) -> LinkDevice? {
    guard index != 0 else { return nil }
    return try request(index: index, name: nil).first
  }

  /// The device of that name, nil if there is none.
  public static func find(name: String) throws(LinkError) -> LinkDevice? {
    try request(index: 0, name: name).first
  }

  /// All devices of this thread's network namespace.
  public static func all() throws(LinkError) -> [LinkDevice] {
    try request(index: 0, name: nil)
  }

  private static func request(index: UInt32, name: String?) throws(LinkError) -> [LinkDevice] {
    let socket = try LinkSocket(watching: false)
    let isDump = index == 0 && name == nil
    let result =
      if let name {
        unsafe name.withCString { unsafe clx_request_links(socket.number, index, $0, 1) }
      } else {
        clx_request_links(socket.number, index, nil, 1)
      }
    if result < 0, errno == ENODEV { return [] }
    guard result == 0 else { throw .system(.current("ask for devices")) }
    var found: [LinkDevice] = []
    var buffer = LinkBuffer()
    while true {
      guard buffer.fill(from: socket.number) else { throw .system(.current("read devices")) }
      while let message = buffer.next() {
        switch message {
        case .device(let device): found.append(device)
        case .done: return found
        case .refused(let errno):
          if errno == ENODEV || errno == EINVAL || errno == ERANGE { return [] }
          throw .system(SystemError("ask for devices", errno: errno))
        case .removed, .discipline, .filter, .other: break
        }
      }
      if !isDump { return found }
    }
  }
}

/// Why devices cannot be read or watched.
public enum LinkError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What the kernel said to rtnetlink, which needs no privilege but free memory.
  case system(SystemError)

  /// The error in one sentence.
  public var description: String {
    switch self {
    case .system(let error): "\(error); the kernel's list of devices cannot be read"
    }
  }
}
