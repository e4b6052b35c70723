// SPDX-License-Identifier: Apache-2.0

/// What one worker has counted; plain integers, because only its own thread touches them.
struct WorkerCounters: Sendable {
  var packets: UInt64 = 0
  var bytes: UInt64 = 0
  var permitted: UInt64 = 0
  var blocked: UInt64 = 0
  var absorbed: UInt64 = 0
  var repeated: UInt64 = 0
  var requeued: UInt64 = 0
  /// Handed to the worker that owns the packet's contexts.
  var handedOver: UInt64 = 0
  var pended: UInt64 = 0
  var pendExpired: UInt64 = 0
  var awaitedProcesses: UInt64 = 0
  var failurePolicyApplied: UInt64 = 0
  var malformed: UInt64 = 0
  var malformedMessages: UInt64 = 0
  var rewritten: UInt64 = 0
  /// Of the packets, those that were frames on bridges.
  var bridgedFrames: UInt64 = 0
  var frames: UInt64 = 0
  var frameBytes: UInt64 = 0
  var framesPermitted: UInt64 = 0
  var framesBlocked: UInt64 = 0
  var framesAbsorbed: UInt64 = 0
  /// Kept to be decided at their time.
  var framesHeld: UInt64 = 0
  /// Given to the worker that owns what they bear.
  var framesHandedOver: UInt64 = 0
  var framesRewritten: UInt64 = 0
  /// Dropped since their new headers found no room.
  var framesUnwritten: UInt64 = 0
  /// Held or handed over, and then refused by the kernel.
  var framesUnsent: UInt64 = 0
  /// Frames that were injected, and those that the kernel refused then.
  var framesInjected: UInt64 = 0
  var injectionsFailed: UInt64 = 0
  var idGaps: UInt64 = 0
  /// Pended packets that the kernel took away, and verdicts for packets that were gone.
  var flushed: UInt64 = 0
  var verdictErrors: UInt64 = 0
  var refusals: [Int32: UInt64] = [:]
}
