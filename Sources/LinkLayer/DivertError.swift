// SPDX-License-Identifier: Apache-2.0

public import Kernel

/// Why the frames of a device cannot be diverted, and what to do about it.
public enum DivertError: Error, Hashable, Sendable, CustomStringConvertible {
  /// CAP_NET_ADMIN, CAP_NET_RAW or CAP_BPF is missing.
  case notPermitted
  /// There is no device of that index.
  case noDevice(UInt32)
  /// The loopback device: each frame would meet both directions at once.
  case loopback(String)
  /// The device's frames are neither Ethernet's nor plain IP packets.
  case unsupportedKind(device: String, kind: UInt16)
  /// The injected bit is not exactly one bit.
  case notOneBit(UInt32)
  /// The kernel has no TAP devices.
  case noTap(SystemError)
  /// The helper device cannot be made.
  case noHelper(SystemError)
  /// The kernel refuses a map that can be mapped into memory.
  case noMap(SystemError)
  /// The kernel refuses a program.
  case programRefused(DivertProgram, SystemError)
  /// The kernel attaches no programs to devices by links, as before 6.6.
  ///
  /// There is no other way yet: chains of nft's netdev family would be one.
  case noTCX(device: String, SystemError)
  /// The packet ring or a socket for sending cannot be made.
  case noSocket(SystemError)
  /// The divert is attached, or is being taken down.
  case notDetached

  /// The error and its remedy in one sentence.
  public var description: String {
    switch self {
    case .notPermitted:
      "not permitted; run as root or give the process CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"
    case .noDevice(let index):
      "there is no device with the index \(index); look at `ip link`"
    case .loopback(let name):
      "\(name) is the loopback device; filter what goes over it at the IP or transport layers"
    case .unsupportedKind(let device, let kind):
      "\(device) is of the hardware type \(kind); only Ethernet and raw-IP devices can be diverted"
    case .notOneBit(let bit):
      "the injected bit 0x\(String(bit, radix: 16)) must be one bit of the mark; "
        + "layer 2 needs a mark field"
    case .noTap(let error):
      "\(error); load the module tun and make /dev/net/tun reachable"
    case .noHelper(let error):
      "\(error); another program may have taken the helper's names, co* in `ip link`"
    case .noMap(let error):
      "\(error); run with CAP_BPF on a kernel with BPF"
    case .programRefused(let program, let error):
      "the kernel refuses the program \(program.rawValue) (\(error)); "
        + "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT, 6.6 or later"
    case .noTCX(let device, let error):
      "\(device): \(error); diverting needs TCX links, which Linux has from 6.6 on"
    case .noSocket(let error):
      "\(error); run with CAP_NET_RAW on a kernel with CONFIG_PACKET, and look for free memory"
    case .notDetached:
      "the divert is attached or on its way down; wait until it is detached"
    }
  }
}
