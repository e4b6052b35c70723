// SPDX-License-Identifier: Apache-2.0

internal import PacketTagging

/// What is known of the injections whose handles live: one worker's, looked up by handle.
///
/// Open addressing. Takes its memory with the first injection; refuses when it is full of handles
/// that live.
package struct InjectionRecords {
  /// One injected packet.
  struct Record: BitwiseCopyable {
    var handle: UInt32 = 0
    /// Where it was injected last.
    var place: UInt64 = 0
    var trace = InjectionTrace()
  }

  /// The most injected packets that are under way at once.
  package static let limit = 1 << 15

  private let limit: Int
  private var records: [Record] = []
  private var count = 0

  /// Records for `limit` packets, a power of two.
  init(limit: Int = Self.limit) { self.limit = limit }

  /// Notes with what and where the packet of that handle was injected; false if there is no room.
  ///
  /// Records whose handles have ended in `contexts` make room for others.
  mutating func note(
    _ handle: UInt32, _ trace: InjectionTrace, at place: UInt64,
    keepingThoseOf contexts: borrowing ContextTable
  ) -> Bool {
    if records.isEmpty { records = Array(repeating: Record(), count: 2 * limit) }
    let record = Record(handle: handle, place: place, trace: trace)
    if store(record) { return true }
    sweep(contexts)
    return store(record)
  }

  /// What was noted under a handle that lives.
  func find(_ handle: UInt32) -> Record? {
    guard handle != 0, !records.isEmpty else { return nil }
    let index = place(of: handle)
    return records[index].handle == handle ? records[index] : nil
  }

  private mutating func store(_ record: Record) -> Bool {
    let index = place(of: record.handle)
    if records[index].handle == 0 {
      guard count < limit else { return false }
      count += 1
    }
    records[index] = record
    return true
  }

  /// Where a handle is, or where it can be put: at most half of the places are taken.
  private func place(of handle: UInt32) -> Int {
    let mask = records.count - 1
    var index = Int(handle &* 0x9e37_79b1 >> 8) & mask
    while records[index].handle != 0, records[index].handle != handle { index = (index + 1) & mask }
    return index
  }

  private mutating func sweep(_ contexts: borrowing ContextTable) {
    let old = records
    records = Array(repeating: Record(), count: old.count)
    count = 0
    for record in old where record.handle != 0 && contexts.isInjected(record.handle) {
      _ = store(record)
    }
  }
}
