// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import LinkLayer
internal import PacketTagging
internal import PacketViews

/// Where a worker gathers frames for callouts that take several at once.
///
/// Takes its memory with the first policy that has such callouts; nothing after that.
struct FrameBatching: ~Copyable {
  /// How each callout of the policy takes frames.
  private(set) var forms: [FrameForm] = []
  /// The layers at which one takes several, by their numbers.
  private var layers: [Bool] = []
  /// The frames that go on from layer to layer, and those that go on to the next.
  var batch = FrameBatch(capacity: 1)
  var next = FrameBatch(capacity: 1)
  /// Which frame of the port's batch each frame here is.
  var numbers: [Int] = []
  var nextNumbers: [Int] = []
  private(set) var memory: [UInt8] = []
  private var filled = 0

  /// More than the longest frame; what does not fit is decided in a batch of its own.
  private static let memorySize = 1 << 20

  /// Makes ready for a policy.
  mutating func prepare(_ policy: CompiledPolicy, _ callouts: [Callout]) {
    forms = policy.frameForms(of: callouts)
    layers = (0..<UInt16(Layer.tableSize)).map { number in
      Layer(rawValue: number).map { policy.takesSeveral(at: $0, forms.span) } ?? false
    }
    guard memory.isEmpty, layers.contains(true) else { return }
    memory = [UInt8](repeating: 0, count: Self.memorySize)
    batch = FrameBatch(capacity: FrameDivert.batchSize)
    next = FrameBatch(capacity: FrameDivert.batchSize)
    numbers.reserveCapacity(FrameDivert.batchSize)
    nextNumbers.reserveCapacity(FrameDivert.batchSize)
  }

  /// Whether a callout takes several frames at once at a layer of the port.
  func isWanted(at traits: FrameTraits) -> Bool {
    let layers = traits.layers
    for position in 0..<layers.count {
      let number = Int(layers[position].rawValue)
      if number < self.layers.count, self.layers[number] { return true }
    }
    return false
  }

  /// Forgets the frames.
  mutating func removeAll() {
    batch.removeAll()
    numbers.removeAll(keepingCapacity: true)
    filled = 0
  }

  /// Whether there is room for one more frame.
  func hasRoom(for length: Int) -> Bool {
    !batch.isFull && length <= memory.count &- filled
  }

  /// Copies a frame to the end.
  mutating func append(
    _ number: Int, _ frame: RawSpan, _ layout: FrameLayout,
    _ metadata: CalloutEngine.FrameMetadata, bearing packet: TaggedPacket
  ) {
    let (length, offset) = (frame.byteCount, filled)
    do {
      var span = memory.mutableSpan
      var target = span.mutablePacketBytes
      target.copyBytes(frame, to: offset)
    }
    let place = ChainedFrame(offset: offset, length: length, layout: layout, metadata: metadata)
    guard batch.append(place, bearing: packet) else { return }
    numbers.append(number)
    filled &+= length
  }

  /// Puts a frame aside for the next layer.
  mutating func keep(_ index: Int) {
    let isKept = next.append(
      batch.frames[index], bearing: batch.packets[index], rewritten: batch.rewritten[index])
    if isKept { nextNumbers.append(numbers[index]) }
  }

  /// Goes on with those that were put aside for the next layer.
  mutating func advance() {
    swap(&batch, &next)
    swap(&numbers, &nextNumbers)
    next.removeAll()
    nextNumbers.removeAll(keepingCapacity: true)
  }
}

// The way of frames where callouts take several at once: one copy more than elsewhere.
extension WorkerState {
  /// Decides what a port has received, gathered and then layer by layer.
  mutating func decideTogether(
    _ count: Int, _ port: FramePort, _ traits: FrameTraits, _ policy: borrowing CompiledPolicy,
    _ callouts: Span<HeldObject<Callout>>
  ) {
    batching.removeAll()
    for index in 0..<count {
      if isOwnedElsewhere(port.divert.frame(index).metadata.mark) {
        decide(index, of: &port.divert, traits, &port.bearers[index], policy, callouts)
        continue
      }
      if !batching.hasRoom(for: port.divert.frame(index).bytes.byteCount) {
        decideGathered(port, traits, policy, callouts)
        batching.removeAll()
      }
      gather(index, port, traits)
    }
    decideGathered(port, traits, policy, callouts)
  }

  private mutating func gather(_ index: Int, _ port: FramePort, _ traits: FrameTraits) {
    var outcome: FrameOutcome?
    do {
      let frame = port.divert.frame(index)
      counters.frames &+= 1
      counters.frameBytes &+= UInt64(frame.bytes.byteCount)
      out.beginFrame(at: traits)
      var (layout, metadata) = traits.describe(frame.bytes, frame.metadata)
      if meet(frame.bytes, layout, metadata, traits) {
        outcome = carryOut(
          failingDecision(), traits.layers[0], frame.bytes, layout, metadata, traits)
      } else {
        metadata.isInjected = out.contexts.isInjected(out.packet.handle)
        batching.append(index, frame.bytes, layout, metadata, bearing: out.packet)
      }
    }
    if let outcome { settle(outcome, index, of: &port.divert, &port.bearers[index]) }
  }

  private mutating func decideGathered(
    _ port: FramePort, _ traits: FrameTraits, _ policy: borrowing CompiledPolicy,
    _ callouts: Span<HeldObject<Callout>>
  ) {
    let layers = traits.layers
    var last = layers[0]
    out.place = traits.injectionPlace
    // Held once a batch, as the callouts are.
    let (memory, forms) = (batching.memory, batching.forms)
    for position in 0..<layers.count where policy.hasFilters(at: layers[position]) {
      guard batching.batch.count > 0 else { return }
      last = layers[position]
      for index in 0..<batching.batch.count { batching.batch.packets[index].layer = last.rawValue }
      out.evaluate(
        &batching.batch, in: memory.span.packetBytes, at: last, policy, callouts, forms.span,
        hits: &hits)
      for index in 0..<batching.batch.count {
        if case .permit = batching.batch.decision(at: index).outcome {
          batching.keep(index)
        } else {
          carryOut(index, batching.batch.decision(at: index), last, port, traits)
        }
      }
      batching.advance()
    }
    for index in 0..<batching.batch.count { carryOut(index, Decision(), last, port, traits) }
  }

  private mutating func carryOut(
    _ index: Int, _ decision: Decision, _ layer: Layer, _ port: FramePort, _ traits: FrameTraits
  ) {
    let number = batching.numbers[index]
    let (layout, metadata) = (
      batching.batch.frames[index].layout, batching.batch.frames[index].metadata
    )
    out.packet = batching.batch.packets[index]
    out.rewrittenFrame = batching.batch.rewritten[index]
    let outcome: FrameOutcome
    do {
      let frame = port.divert.frame(number)
      outcome = carryOut(decision, layer, frame.bytes, layout, metadata, traits)
    }
    settle(outcome, number, of: &port.divert, &port.bearers[number])
  }
}
