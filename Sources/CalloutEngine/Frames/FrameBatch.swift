// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

/// The frames that one pass over a ring has found, and what becomes of each.
///
/// All of one layer, and in one piece of memory. Holds no more than its capacity, and allocates
/// nothing after it was made.
package struct FrameBatch: ~Copyable {
  /// One frame's way through the filters.
  struct Progress: BitwiseCopyable {
    var decision = Decision()
    /// The filter at which it goes on.
    var position = 0
  }

  /// The most frames it takes.
  package let capacity: Int
  package private(set) var frames: [ChainedFrame] = []
  /// What each frame bears.
  package var packets: [TaggedPacket] = []
  /// Each frame's new header.
  package internal(set) var rewritten: [RewrittenFrame] = []
  var progress: [Progress] = []
  /// The frames of the chain that is being made, and their numbers here.
  var chain: [ChainedFrame] = []
  var members: [Int] = []
  /// Those of them whose decision is final already.
  var finalMembers: [Int] = []
  /// The frames that match the filter at hand.
  var arrived: [Int] = []

  package init(capacity: Int) {
    self.capacity = max(capacity, 1)
    frames.reserveCapacity(self.capacity)
    packets.reserveCapacity(self.capacity)
    rewritten.reserveCapacity(self.capacity)
    progress.reserveCapacity(self.capacity)
    chain.reserveCapacity(self.capacity)
    members.reserveCapacity(self.capacity)
    finalMembers.reserveCapacity(self.capacity)
    arrived.reserveCapacity(self.capacity)
  }

  /// How many frames it holds.
  package var count: Int { frames.count }

  /// Whether it takes no more.
  package var isFull: Bool { frames.count >= capacity }

  /// Takes a frame, with a new header from another layer; false if there is no room.
  package mutating func append(
    _ frame: ChainedFrame, bearing packet: TaggedPacket,
    rewritten header: RewrittenFrame = RewrittenFrame()
  ) -> Bool {
    guard !isFull else { return false }
    frames.append(frame)
    packets.append(packet)
    rewritten.append(header)
    progress.append(Progress())
    return true
  }

  /// Makes room for the next frames.
  package mutating func removeAll() {
    frames.removeAll(keepingCapacity: true)
    packets.removeAll(keepingCapacity: true)
    rewritten.removeAll(keepingCapacity: true)
    progress.removeAll(keepingCapacity: true)
  }

  /// The first place at which a frame waits, at most `end`.
  func nextPosition(_ end: Int) -> Int {
    var next = end
    for frame in progress { next = min(next, frame.position) }
    return next
  }

  /// What became of the frame at `index`; permitted if there is none.
  package func decision(at index: Int) -> Decision {
    index >= 0 && index < progress.count ? progress[index].decision : Decision()
  }
}

extension CompiledPolicy {
  /// Whether a callout that filters of `layer` ask takes several frames at once.
  package func takesSeveral(at layer: Layer, _ forms: Span<FrameForm>) -> Bool {
    let filters = layers[Int(layer.rawValue)]
    for position in filters.first..<filters.end {
      let callout = Int(self.filters[position].callout)
      if callout >= 0, forms[callout] != .single { return true }
    }
    return false
  }

  /// How each callout takes frames: as chains only if its registration and the callout both say so.
  package func frameForms(of callouts: [Callout]) -> [FrameForm] {
    zip(self.callouts, callouts).map { registration, callout in
      switch callout.frameForm {
      case .single: .single
      case .chain: registration.allowsL2BatchClassify ? .chain : .single
      case .vector: .vector
      }
    }
  }
}
