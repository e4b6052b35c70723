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
  /// The kernel attaches no programs to devices by links, as before 6.6, and another way is not
  /// wanted.
  case noTCX(device: String, SystemError)
  /// The kernel has neither such links nor clsact with cls_bpf, or these refuse.
  case noClsact(device: String, SystemError)
  /// Somebody has given the device an ingress discipline, in whose place clsact would have to be.
  case ingressDiscipline(device: String)
  /// Somebody has given the device filters that it shares with others.
  case sharedBlock(device: String)
  /// The kernel does not tell of disciplines and filters.
  case noTrafficControl(LinkError)
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
      "\(error); run `modprobe tun`, and make /dev/net/tun reachable"
    case .noHelper(let error):
      "\(error); another program may have taken the helper's names, co* in `ip link`"
    case .noMap(let error):
      "\(error); run with CAP_BPF on a kernel with BPF"
    case .programRefused(let program, let error):
      "the kernel refuses the program \(program.rawValue) (\(error)); "
        + "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT, 5.10 or later"
    case .noTCX(let device, let error):
      "\(device): \(error); TCX links need Linux 6.6: leave the choice open, and clsact serves"
    case .noClsact(let device, let error):
      "\(device): \(error); run `modprobe -a sch_ingress cls_bpf`, or use Linux 6.6 or later with "
        + "CONFIG_NET_XGRESS"
    case .ingressDiscipline(let device):
      "\(device) has an ingress discipline, under which no filter sees what it sends; have its "
        + "owner use clsact instead, which takes the same filters (`tc qdisc show dev \(device)`)"
    case .sharedBlock(let device):
      "\(device) shares its filters with other devices (`tc qdisc show dev \(device)`); divert a "
        + "device that has its own, or use Linux 6.6 or later"
    case .noTrafficControl(let error):
      "\(error); diverting without TCX needs CONFIG_NET_SCHED"
    case .noSocket(let error):
      "\(error); run with CAP_NET_RAW on a kernel with CONFIG_PACKET, and look for free memory"
    case .notDetached:
      "the divert is attached or on its way down; wait until it is detached"
    }
  }
}
