// SPDX-License-Identifier: Apache-2.0

internal import Kernel
public import PacketTagging
public import PacketViews

/// Where one frame of a batch lies, and what is known of it.
public struct ChainedFrame: BitwiseCopyable, Sendable {
  /// Where in the batch's memory it begins.
  package var offset: Int
  /// How long it is.
  package var length: Int
  /// Where its headers lie and what they say.
  public let layout: FrameLayout
  /// What the kernel says of it.
  public let metadata: FrameMetadata

  package init(offset: Int, length: Int, layout: FrameLayout, metadata: FrameMetadata) {
    self.offset = offset
    self.length = length
    self.layout = layout
    self.metadata = metadata
  }
}

/// Frames of one layer that a callout decides in one call, in the order in which they came.
///
/// Mirrors a chain of `NET_BUFFER_LIST`. Valid only inside `classify`.
public struct FrameChain: ~Copyable, ~Escapable {
  private let memory: RawSpan
  private let frames: Span<ChainedFrame>
  /// The layer at which they are classified.
  public let layer: Layer
  private let pin = AddressPin()

  @_lifetime(copy memory, copy frames)
  package init(in memory: RawSpan, _ frames: Span<ChainedFrame>, at layer: Layer) {
    self.memory = memory
    self.frames = frames
    self.layer = layer
  }

  /// How many frames there are; at least one.
  public var count: Int { frames.count }

  /// The frame at `index`; an empty one if there is none.
  @_lifetime(copy self)
  public func frame(at index: Int) -> ClassifiedFrame {
    guard index >= 0, index < frames.count else {
      let nothing = memory.slice(from: 0, length: 0)
      return ClassifiedFrame(
        bytes: nothing, layout: FrameLayout(parsing: nothing), layer: layer,
        metadata: FrameMetadata())
    }
    let place = frames[index]
    return ClassifiedFrame(
      bytes: memory.slice(from: place.offset, length: place.length), layout: place.layout,
      layer: layer, metadata: place.metadata)
  }
}

/// What a callout says of the frames of a chain while it is asked.
struct FrameSelection {
  var form = FrameForm.single
  var selected = 0
  var count: Int { packets.count }
  var packets: [TaggedPacket] = []
  var rewritten: [RewrittenFrame] = []
  var answers: [Classification.Answer] = []
  var clearsWrite: [Bool] = []

  mutating func reserve(_ capacity: Int) {
    packets.reserveCapacity(capacity)
    rewritten.reserveCapacity(capacity)
    answers.reserveCapacity(capacity)
    clearsWrite.reserveCapacity(capacity)
  }

  mutating func removeAll() {
    form = .single
    selected = 0
    packets.removeAll(keepingCapacity: true)
    rewritten.removeAll(keepingCapacity: true)
    answers.removeAll(keepingCapacity: true)
    clearsWrite.removeAll(keepingCapacity: true)
  }
}

extension Classification {
  /// Notes what was said of the selected frame.
  mutating func storeSelected() {
    let index = selection.selected
    guard index < selection.count else { return }
    selection.packets[index] = packet
    selection.rewritten[index] = rewrittenFrame
    selection.answers[index] = answer
    selection.clearsWrite[index] = clearsWrite
  }

  /// Goes on with another frame; a chain's answer stays, since it is one for all.
  mutating func loadSelected(_ index: Int) {
    guard index < selection.count else { return }
    selection.selected = index
    packet = selection.packets[index]
    rewrittenFrame = selection.rewritten[index]
    guard selection.form == .vector else { return }
    answer = selection.answers[index]
    clearsWrite = selection.clearsWrite[index]
  }
}
