// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging

/// A policy that is ready to be put in force.
struct PreparedPolicy {
  var policy: CompiledPolicy
  var callouts: [Callout]
  var options: QueueOptions
  /// The options of the policy in force.
  var oldOptions: QueueOptions
  /// What callouts are told.
  var news: CalloutNews
  /// What they were told, to be taken back.
  var announced: [(callout: Callout, filter: Filter)]
}

// A change of policy in two steps: between them packets meet the old policy.
extension WorkerState {
  /// Makes `new` ready; a callout may refuse it.
  ///
  /// On an error nothing has changed.
  mutating func prepare(
    _ new: CompiledPolicy, _ options: QueueOptions, _ news: CalloutNews
  ) throws(BridgeError) {
    let oldOptions = socket.options
    // Enough for both policies.
    try reconfigure(oldOptions.union(options))
    var instances: [Callout] = []
    for registration in new.callouts {
      let known = policy.callouts.firstIndex {
        $0.name == registration.name && $0.revision == registration.revision
      }
      instances.append(known.map { callouts[$0] } ?? registration.makeInstance())
    }
    prepared = PreparedPolicy(
      policy: new, callouts: instances, options: options, oldOptions: oldOptions, news: news,
      announced: [])
    guard shard == 0 else { return }
    do {
      try announce(news, new, instances)
    } catch {
      abandon()
      throw error
    }
  }

  /// Puts the policy that was made ready in force.
  mutating func commit() {
    guard let new = prepared.take() else { return }
    if shard == 0 { announceDeletions(new.news) }
    let kept = Set(new.policy.callouts.flatMap(\.tags))
    for tag in Set(policy.callouts.flatMap(\.tags)).subtracting(kept) {
      _ = out.contexts.removeAll(tag, reason: .ownerGone)
    }
    changeFlows(to: new.policy)
    policy = new.policy
    callouts = new.callouts
    heldCallouts = callouts.map { HeldObject(heldByCaller: $0) }
    batching.prepare(policy, callouts)
    hits = [UInt64](repeating: 0, count: policy.policy.filters.count)
    hooks = ([], [])
    for layer in policy.policy.layers {
      if layer.isIPv6 {
        hooks.ipv6.formUnion(layer.hooks)
      } else {
        hooks.ipv4.formUnion(layer.hooks)
      }
    }
    bridges = BridgeHooks(policy)
    describesDevices = policy.policy.asksForDevices
    heads.isKept = policy.hasDiscards
    out.contexts.keepsDrops = policy.hasDiscards
    // Where this fails, more is copied than needed.
    try? reconfigure(new.options)
  }

  /// Takes back what was made ready.
  mutating func abandon() {
    guard let new = prepared.take() else { return }
    for (callout, filter) in new.announced.reversed() {
      try? callout.filterChanged(.deleted(filter), with: nil)
    }
    try? reconfigure(new.oldOptions)
  }

  mutating func reconfigure(_ options: QueueOptions) throws(BridgeError) {
    guard socket.options != options else { return }
    do {
      try socket.reconfigure(options)
    } catch {
      throw .queue(error)
    }
  }

  /// Tells callouts which filters will come; one that refuses stops the whole change.
  private mutating func announce(
    _ news: CalloutNews, _ new: CompiledPolicy, _ instances: [Callout]
  ) throws(BridgeError) {
    for item in news.added {
      guard let index = new.callouts.firstIndex(where: { $0.name == item.callout }) else {
        continue
      }
      do {
        try instances[index].filterChanged(.added(item.filter), with: item.context)
      } catch {
        throw .filterRefused(callout: item.callout, reason: "\(error)")
      }
      prepared?.announced.append((instances[index], item.filter))
    }
  }

  /// Tells callouts which filters have gone; that cannot be refused.
  private func announceDeletions(_ news: CalloutNews) {
    for item in news.deleted {
      guard let index = policy.callouts.firstIndex(where: { $0.name == item.callout }) else {
        continue
      }
      try? callouts[index].filterChanged(.deleted(item.filter), with: nil)
    }
  }
}
