// SPDX-License-Identifier: Apache-2.0

/// How an injection ended; the sign means what that of an `NTSTATUS` does.
///
/// 0: injected. Above: injected, with something to say. Below: failed. Mirrors
/// `NET_BUFFER_LIST_STATUS` as the completion function finds it.
public struct InjectionStatus: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
  /// The number.
  public let rawValue: Int32
  /// From a number; every one is valid.
  public init(rawValue: Int32) { self.rawValue = rawValue }

  /// The frame was injected.
  ///
  /// `STATUS_SUCCESS`.
  public static let success = InjectionStatus(rawValue: 0)
  /// The frame was injected by the helper device, as the interface refused its length.
  public static let byHelper = InjectionStatus(rawValue: 0x4000_0001)
  /// Nothing more is known.
  ///
  /// `STATUS_UNSUCCESSFUL`.
  public static let unsuccessful = InjectionStatus(bits: 0xc000_0001)
  /// The frame itself is wrong.
  ///
  /// `STATUS_INVALID_PARAMETER`.
  public static let invalidParameter = InjectionStatus(bits: 0xc000_000d)
  /// The interface is gone.
  ///
  /// `STATUS_NO_SUCH_DEVICE`.
  public static let noSuchDevice = InjectionStatus(bits: 0xc000_000e)
  /// The right to do it is missing.
  ///
  /// `STATUS_ACCESS_DENIED`.
  public static let accessDenied = InjectionStatus(bits: 0xc000_0022)
  /// The kernel had no room for it.
  ///
  /// `STATUS_INSUFFICIENT_RESOURCES`.
  public static let insufficientResources = InjectionStatus(bits: 0xc000_009a)
  /// The engine ended before it was sent.
  ///
  /// `STATUS_CANCELLED`.
  public static let cancelled = InjectionStatus(bits: 0xc000_0120)
  /// The frame is longer than the interface takes.
  ///
  /// `STATUS_INVALID_BUFFER_SIZE`.
  public static let invalidBufferSize = InjectionStatus(bits: 0xc000_0206)
  /// No route leads to the packet's destination.
  ///
  /// `STATUS_NETWORK_UNREACHABLE`.
  public static let networkUnreachable = InjectionStatus(bits: 0xc000_023c)
  /// The destination does not answer.
  ///
  /// `STATUS_HOST_UNREACHABLE`.
  public static let hostUnreachable = InjectionStatus(bits: 0xc000_023d)
  /// The interface is down.
  ///
  /// `STATUS_NDIS_MEDIA_DISCONNECTED`.
  public static let mediaDisconnected = InjectionStatus(bits: 0xc023_001f)

  private init(bits: UInt32) { rawValue = Int32(bitPattern: bits) }

  /// What a send that failed with this errno means; 0 is success.
  public init(errno: Int32) {
    self =
      switch errno {
      case 0: .success
      case 1, 13: .accessDenied  // EPERM, EACCES
      case 6, 19: .noSuchDevice  // ENXIO, ENODEV
      case 11, 12, 105: .insufficientResources  // EAGAIN, ENOMEM, ENOBUFS
      case 22: .invalidParameter  // EINVAL
      case 90: .invalidBufferSize  // EMSGSIZE
      case 100: .mediaDisconnected  // ENETDOWN
      case 101: .networkUnreachable  // ENETUNREACH
      case 113: .hostUnreachable  // EHOSTUNREACH
      default: .unsuccessful
      }
  }

  /// Whether the frame was injected.
  ///
  /// Mirrors `NT_SUCCESS`.
  public var isSuccess: Bool { rawValue >= 0 }
}

extension InjectionStatus: CustomStringConvertible {
  /// A word, or the number.
  public var description: String {
    switch self {
    case .success: "success"
    case .byHelper: "success by the helper device"
    case .unsuccessful: "unsuccessful"
    case .invalidParameter: "invalid parameter"
    case .noSuchDevice: "no such device"
    case .accessDenied: "access denied"
    case .insufficientResources: "insufficient resources"
    case .cancelled: "cancelled"
    case .invalidBufferSize: "frame too long"
    case .mediaDisconnected: "interface down"
    case .networkUnreachable: "network unreachable"
    case .hostUnreachable: "host unreachable"
    default: "0x" + String(UInt32(bitPattern: rawValue), radix: 16)
    }
  }
}
