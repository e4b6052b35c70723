// SPDX-License-Identifier: Apache-2.0

internal import Kernel
internal import PacketTagging

/// What the programs need to know; same layout as `struct settings` in `lifecycle.h`.
struct ObserverSettings: BitwiseCopyable {
  var namespace: UInt32
  var fieldMask: UInt32
  var fieldShift: UInt32
  var numberMask: UInt32
  var epochBit: UInt32
  var epoch: UInt32
  var largest: UInt32
  var notSpecified: UInt32
  var queuePurge: UInt32

  init(
    field: MarkField, epoch: Bool, largest: Int, reasons: DropReasons
  ) throws(ObserverError) {
    let namespace: NetworkNamespace
    do {
      namespace = try .current()
    } catch {
      throw .noNamespace(error)
    }
    self.namespace = namespace.inode
    fieldMask = field.mask
    fieldShift = UInt32(field.mask.trailingZeroBitCount)
    numberMask = field.numberMask
    epochBit = field.epochBit
    self.epoch = epoch ? field.epochBit : 0
    self.largest = UInt32(largest)
    // No kernel numbers a reason like this: then none is met.
    notSpecified = reasons.number(of: "NOT_SPECIFIED") ?? .max
    queuePurge = reasons.number(of: "QUEUE_PURGE") ?? .max
  }
}
