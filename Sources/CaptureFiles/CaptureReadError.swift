// SPDX-License-Identifier: Apache-2.0

public import Kernel

/// Why the frames of a capture file cannot be had.
public enum CaptureReadError: Error, Sendable, CustomStringConvertible {
  /// The file cannot be read.
  case system(SystemError)
  /// The file begins otherwise than captures do.
  case notACapture([UInt8])
  /// The file ends inside of something that begins at byte `at`.
  case endsEarly(in: String, at: UInt64)
  /// Something in the file that begins at byte `at` contradicts itself.
  case malformed(String, at: UInt64)
  /// A frame is of a kind that is not injected; frames are numbered from 1.
  case wrongLinkType(UInt32, frame: Int)
  /// Only a part of a frame was captured.
  case cut(frame: Int, captured: UInt32, of: UInt32)

  /// What is wrong and what to do about it.
  public var description: String {
    switch self {
    case .system(let error): "\(error)"
    case .notACapture(let start) where start.starts(with: [0x1f, 0x8b]):
      "found a compressed file, expected a capture: unpack it with gunzip"
    case .notACapture(let start) where start.starts(with: [0x28, 0xb5, 0x2f, 0xfd]):
      "found a compressed file, expected a capture: unpack it with unzstd"
    case .notACapture(let start) where start.isEmpty:
      "the file is empty, expected a capture in pcap or pcapng format"
    case .notACapture: "found neither a pcap nor a pcapng file, expected one of them"
    case .endsEarly(let what, let place):
      "the file ends inside the \(what) at byte \(place); capture it again"
    case .malformed(let what, let place): "found \(what) at byte \(place): the file is damaged"
    case .wrongLinkType(let type, let frame):
      "frame \(frame) is of link type \(type), expected Ethernet (1) or raw IP (101, 228, 229)"
    case .cut(let frame, let captured, let length):
      "of frame \(frame) only \(captured) of \(length) bytes were captured; capture whole frames, "
        + "as with tcpdump -s 0"
    }
  }
}
