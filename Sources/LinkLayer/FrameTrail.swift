// SPDX-License-Identifier: Apache-2.0

/// Which engines have let a frame through at a device in one direction, so that each that diverts it
/// sees it once.
///
/// The engines' injected bits; all 32 inverted where one of them injected the frame, which others know
/// it by. Sockets bear it as their mark, which the programs at the device read.
public struct FrameTrail: RawRepresentable, BitwiseCopyable, Sendable, Hashable {
  /// The bits, 0 for a frame that no engine has had.
  public let rawValue: UInt32

  /// From what a program has told.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Of a frame that no engine has had.
  public static var none: Self { Self(rawValue: 0) }

  /// Of a frame that the engine of that bit injects: new to all others.
  static func injection(by bit: UInt32) -> Self { Self(rawValue: ~bit) }

  /// Whether one of the engines injected it.
  public var isInjected: Bool { rawValue.nonzeroBitCount > 16 }

  /// With one more engine, which puts the frame back.
  func adding(_ bit: UInt32) -> Self {
    Self(rawValue: isInjected ? rawValue & ~bit : rawValue | bit)
  }
}
