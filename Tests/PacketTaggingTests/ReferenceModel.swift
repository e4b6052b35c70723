// SPDX-License-Identifier: Apache-2.0

@testable import PacketTagging

/// What an association must come to, kept as plainly as can be.
final class ModelAssociation {
  let tag: ContextTag
  let context: UInt64
  init(_ tag: ContextTag, _ context: UInt64) {
    self.tag = tag
    self.context = context
  }
}

struct ModelEnd: Hashable, CustomStringConvertible {
  var context: UInt64
  var reason: RemovalReason
  var certainty: Certainty
  var description: String { "\(context) \(reason.name) \(certainty.name)" }
}

/// All packets under one handle.
final class ModelHandle {
  let number: UInt32
  let flow: UInt32
  var own: [ModelAssociation] = []
  var parent: ModelHandle?
  var children = 0
  var waiting = 0
  var roaming: [Departure: Int] = [:]
  var isKept = false
  var hops = 0
  var repeats: (hook: Hook, count: Int) = (.prerouting, 0)
  var best = RemovalReason.none
  var time: UInt64
  var isLive = true

  init(_ number: UInt32, flow: UInt32, time: UInt64) {
    self.number = number
    self.flow = flow
    self.time = time
  }

  var hasOwnBearers: Bool { waiting > 0 || roaming.values.contains { $0 > 0 } }
  /// Itself and the handles whose shared contexts it bears.
  var line: [ModelHandle] { [self] + (parent?.line ?? []) }

  var visible: [(holder: ModelHandle, association: ModelAssociation)] {
    line.flatMap { holder in
      holder.own.filter { holder === self || $0.tag.disposition == .share }
        .map { (holder, $0) }
    }
  }

  func find(_ tag: ContextTag) -> (holder: ModelHandle, association: ModelAssociation)? {
    visible.first { $0.association.tag == tag }
  }
}

/// The slow twin of a context table.
final class ReferenceModel {
  var handles: [UInt32: ModelHandle] = [:]
  var restingSince: [UInt32: UInt64] = [:]
  var now: UInt64 = 0
  var associated = 0
  var ended = 0
  /// Terminal events that the operation under way must have raised.
  var ends: [ModelEnd] = []

  var live: Int { handles.values.reduce(0) { $0 + $1.own.count } }

  func open(_ number: UInt32, flow: UInt32) -> ModelHandle {
    let handle = ModelHandle(number, flow: flow, time: now)
    handles[number] = handle
    restingSince[number] = nil
    return handle
  }

  /// Whether the table may give out `number` now.
  func mayOpen(_ number: UInt32) -> Bool {
    guard handles[number] == nil else { return false }
    guard let since = restingSince[number] else { return true }
    return now - since >= 50_000_000 && since == restingSince.values.min()
  }

  func canOpen(capacity: Int) -> Bool {
    if let oldest = restingSince.values.min(), now - oldest >= 50_000_000 { return true }
    return handles.count + restingSince.count < capacity
  }

  func add(_ tag: ContextTag, _ context: UInt64, _ handle: ModelHandle) {
    handle.own.append(ModelAssociation(tag, context))
    associated += 1
  }

  func end(
    _ association: ModelAssociation, of handle: ModelHandle, _ reason: RemovalReason,
    _ certainty: Certainty
  ) {
    handle.own.removeAll { $0 === association }
    ended += 1
    ends.append(ModelEnd(context: association.context, reason: reason, certainty: certainty))
  }

  static func higher(_ reason: RemovalReason, _ best: RemovalReason) -> RemovalReason {
    best != .none && best.rank > reason.rank ? best : reason
  }

  func close(_ handle: ModelHandle, _ reason: RemovalReason, _ certainty: Certainty) {
    let ending = Self.higher(reason, handle.best)
    for association in handle.own { end(association, of: handle, ending, certainty) }
    handle.isLive = false
    handles[handle.number] = nil
    restingSince[handle.number] = now
    guard let parent = handle.parent, parent.isLive else { return }
    parent.children -= 1
    if ending.rank > parent.best.rank { parent.best = ending }
    if !parent.hasOwnBearers, parent.children == 0 { close(parent, ending, certainty) }
  }

  func finish(_ handle: ModelHandle, _ reason: RemovalReason, _ certainty: Certainty) {
    handle.waiting -= 1
    if !handle.hasOwnBearers, handle.children == 0 { return close(handle, reason, certainty) }
    if reason.rank > handle.best.rank { handle.best = reason }
    guard !handle.hasOwnBearers else { return }
    for association in handle.own where association.tag.disposition != .share {
      end(association, of: handle, Self.higher(reason, handle.best), certainty)
    }
  }

  func depart(_ handle: ModelHandle, _ departure: Departure) {
    handle.waiting -= 1
    handle.roaming[departure, default: 0] += 1
    handle.time = now
  }

  /// Closes a handle that stands for nothing and that nobody but the caller bears.
  func closeIfBare(_ handle: ModelHandle, isClone: Bool) -> Bool {
    let bearers = handle.waiting + handle.roaming.values.reduce(0, +)
    guard handle.own.isEmpty, handle.parent == nil, bearers == 1, handle.children == 0,
      handle.isKept == isClone
    else { return false }
    close(handle, .removedByCaller, .exact)
    return true
  }

  /// The departure that a packet at `hook` must have come by.
  func departure(_ handle: ModelHandle, _ hook: Hook) -> Departure? {
    handle.roaming.filter { $0.value > 0 && $0.key.followers.contains(HookSet(hook)) }
      .keys.min { $0.rawValue < $1.rawValue }
  }
}
