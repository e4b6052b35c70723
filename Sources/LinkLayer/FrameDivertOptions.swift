// SPDX-License-Identifier: Apache-2.0

/// What becomes of frames that nobody can decide.
public enum FrameFailurePolicy: Sendable, Hashable, CaseIterable {
  /// They go on unseen.
  case permit
  /// They are dropped.
  case block
}

/// What is diverted, and how.
public struct FrameDivertOptions: Sendable, Hashable {
  /// The device's index.
  public var device: UInt32
  /// Frames that it receives, or that it sends.
  public var direction: LinkDirection
  /// The one bit of the mark that what is put back bears until the device lets it through.
  ///
  /// Programs that divert the same device must each have their own: each sees a frame once, and what
  /// another one injects once more. Who injects what it sees must bound how often.
  public var injectedBit: UInt32
  /// All bits of the mark that are ours: noted at the helper device, so that other programs keep away.
  public var markMask: UInt32
  /// What becomes of frames while the reader is behind by `limit`, and of those of a batch that
  /// nobody has decided; both are counted.
  public var failurePolicy: FrameFailurePolicy
  /// How the programs hang at the device: by TCX where nothing is said and the kernel has it.
  public var attachment: DivertAttachment?
  /// How many frames may wait to be read: a power of two from 128 to 65,536.
  ///
  /// Each takes 2 KiB that stay in memory.
  public let slots: Int
  /// The most frames under way before the failure policy is applied; with more than there are slots
  /// the ring fills up first, and what finds no room in it is lost.
  public let limit: Int

  /// Options with this project's defaults; `slots` is rounded up, `limit` is three quarters of them.
  public init(
    device: UInt32, direction: LinkDirection, injectedBit: UInt32, markMask: UInt32? = nil,
    failurePolicy: FrameFailurePolicy = .permit, slots: Int = 16384, limit: Int? = nil,
    attachment: DivertAttachment? = nil
  ) {
    self.device = device
    self.direction = direction
    self.injectedBit = injectedBit
    self.markMask = markMask ?? injectedBit
    self.failurePolicy = failurePolicy
    self.attachment = attachment
    var size = 128
    while size < slots, size < 65536 { size *= 2 }
    self.slots = size
    self.limit = max(limit ?? size / 4 * 3, 1)
  }
}
