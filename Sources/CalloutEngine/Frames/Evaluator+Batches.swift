// SPDX-License-Identifier: Apache-2.0

package import Kernel
package import PacketTagging
internal import PacketViews

extension Classification {
  /// Runs the filters of `layer` over all frames of a batch.
  ///
  /// Each frame is decided as it would be alone, but filter by filter instead of frame by frame: so
  /// a callout that takes chains gets all frames at once that come to its filter.
  package mutating func evaluate(
    _ batch: inout FrameBatch, in memory: RawSpan, at layer: Layer,
    _ policy: borrowing CompiledPolicy, _ callouts: Span<HeldObject<Callout>>,
    _ forms: Span<FrameForm>, hits: inout [UInt64]
  ) {
    let filters = policy.layers[Int(layer.rawValue)]
    guard policy.takesSeveral(at: layer, forms) else {
      return evaluateEach(&batch, in: memory, at: layer, policy, callouts, hits: &hits)
    }
    isDiverted = true
    selection.reserve(batch.capacity)
    for index in batch.progress.indices {
      batch.progress[index] = FrameBatch.Progress(position: filters.first)
      advance(index, to: filters.first, &batch, in: memory, at: layer, policy)
    }
    while true {
      let position = batch.nextPosition(filters.end)
      guard position < filters.end else { break }
      let filter = policy.filters[position]
      let form = filter.callout < 0 ? .single : forms[Int(filter.callout)]
      batch.members.removeAll(keepingCapacity: true)
      batch.finalMembers.removeAll(keepingCapacity: true)
      batch.arrived.removeAll(keepingCapacity: true)
      for index in batch.progress.indices where batch.progress[index].position == position {
        batch.arrived.append(index)
        batch.progress[index].position = position + 1
        let frame = Self.frame(index, of: batch, in: memory, at: layer)
        let number = Int(filter.filter)
        if number < hits.count { hits[number] &+= 1 }
        if form == .single {
          packet = batch.packets[index]
          rewrittenFrame = batch.rewritten[index]
          if ask(filter, frame, callouts, &batch.progress[index].decision) {
            batch.progress[index].position = Int(filter.nextSublayer)
          }
          batch.packets[index] = packet
          batch.rewritten[index] = rewrittenFrame
        } else if batch.progress[index].decision.isFinal {
          batch.finalMembers.append(index)
        } else {
          batch.members.append(index)
        }
      }
      // Whose decision is final already, the callout may only veto: such are a chain of their own.
      if !batch.members.isEmpty {
        askChain(filter, form, &batch, isFinal: false, memory, layer, callouts)
      }
      if !batch.finalMembers.isEmpty {
        swap(&batch.members, &batch.finalMembers)
        askChain(filter, form, &batch, isFinal: true, memory, layer, callouts)
      }
      for index in batch.arrived {
        advance(
          index, to: batch.progress[index].position, &batch, in: memory, at: layer, policy)
      }
    }
    isDiverted = false
  }

  /// Has a frame of the batch wait at the next filter that it matches.
  private mutating func advance(
    _ index: Int, to position: Int, _ batch: inout FrameBatch, in memory: RawSpan,
    at layer: Layer, _ policy: borrowing CompiledPolicy
  ) {
    let filters = policy.layers[Int(layer.rawValue)]
    let frame = Self.frame(index, of: batch, in: memory, at: layer)
    begin(frame, filters, policy)
    batch.progress[index].position = next(from: position, frame, filters, policy)
  }

  /// Where no callout takes several frames at once.
  private mutating func evaluateEach(
    _ batch: inout FrameBatch, in memory: RawSpan, at layer: Layer,
    _ policy: borrowing CompiledPolicy, _ callouts: Span<HeldObject<Callout>>, hits: inout [UInt64]
  ) {
    for index in batch.progress.indices {
      packet = batch.packets[index]
      rewrittenFrame = batch.rewritten[index]
      answer = .none
      let frame = Self.frame(index, of: batch, in: memory, at: layer)
      batch.progress[index].decision = evaluate(frame, policy, callouts, hits: &hits)
      batch.packets[index] = packet
      batch.rewritten[index] = rewrittenFrame
    }
  }

  @_lifetime(copy memory)
  private static func frame(
    _ index: Int, of batch: borrowing FrameBatch, in memory: RawSpan, at layer: Layer
  ) -> ClassifiedFrame {
    let place = batch.frames[index]
    return ClassifiedFrame(
      bytes: memory.slice(from: place.offset, length: place.length), layout: place.layout,
      layer: layer, metadata: place.metadata)
  }

  /// Asks a callout about the batch's members, whose decisions are all final or all not.
  private mutating func askChain(
    _ filter: CompiledPolicy.CompiledFilter, _ form: FrameForm, _ batch: inout FrameBatch,
    isFinal: Bool, _ memory: RawSpan, _ layer: Layer, _ callouts: Span<HeldObject<Callout>>
  ) {
    batch.chain.removeAll(keepingCapacity: true)
    selection.removeAll()
    for index in batch.members {
      batch.chain.append(batch.frames[index])
      selection.packets.append(batch.packets[index])
      selection.rewritten.append(batch.rewritten[index])
      selection.answers.append(.none)
      selection.clearsWrite.append(false)
    }
    selection.form = form
    var rights = Decision()
    rights.isFinal = isFinal
    begin(filter, rights)
    loadSelected(0)
    do {
      let chain = FrameChain(in: memory, batch.chain.span, at: layer)
      callouts[Int(filter.callout)].use { $0.classify(chain: chain, &self) }
    }
    storeSelected()
    settleChain(filter, &batch)
    selection.removeAll()
  }

  private mutating func settleChain(
    _ filter: CompiledPolicy.CompiledFilter, _ batch: inout FrameBatch
  ) {
    for (place, index) in batch.members.enumerated() {
      batch.packets[index] = selection.packets[place]
      batch.rewritten[index] = selection.rewritten[place]
      if selection.form == .vector {
        answer = selection.answers[place]
        clearsWrite = selection.clearsWrite[place]
      }
      if settle(filter, &batch.progress[index].decision) {
        batch.progress[index].position = Int(filter.nextSublayer)
      }
    }
  }
}
