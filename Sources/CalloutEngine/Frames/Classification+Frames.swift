// SPDX-License-Identifier: Apache-2.0

public import PacketTagging
public import PacketViews

extension Classification {
  /// Changes the frame's MAC header.
  ///
  /// The change takes effect if the frame is let go. A second call, by any callout, goes on from the
  /// first one's result.
  public mutating func rewrite(
    _ original: borrowing ClassifiedFrame,
    _ change: (inout FrameEdit) throws(FrameRewriteError) -> Void
  ) throws(FrameRewriteError) {
    do throws(FrameRewriteError) {
      var rewritten = rewrittenFrame
      try rewritten.apply(change, original)
      if original.layer.medium == .virtualSwitch, rewritten.bridgedHeader(of: original) == nil {
        throw .notOnBridges
      }
      rewrittenFrame = rewritten
    } catch {
      events.rewritesRefused &+= 1
      throw error
    }
  }

  /// Makes a copy of the frame that the callout owns.
  ///
  /// It bears no contexts until some are moved or copied to it, and is what the frame was when it
  /// came. Mirrors `FwpsAllocateCloneNetBufferList0`; raises `cloned_via_api`.
  /// - Throws: `invalidParameter` while a chain is decided as a whole.
  public mutating func clone(_ original: borrowing ClassifiedFrame) throws(FrameRewriteError)
    -> FrameClone
  {
    guard selection.form != .chain else { throw .invalidParameter }
    contexts.noteClone(of: packet)
    return FrameClone(original, like: packet, injectionTrace, desk: desk)
  }

  /// Keeps the frame's bytes beyond the call.
  ///
  /// A frame in a ring cannot be kept there, so this copies it. Who intends to modify it takes the
  /// decision out of the hands of lower sublayers. Mirrors `FwpsReferenceNetBufferList0`.
  /// - Throws: `invalidParameter` while a chain is decided as a whole.
  public mutating func reference(
    _ original: borrowing ClassifiedFrame, intendsToModify: Bool = false
  ) throws(FrameRewriteError) -> ReferencedFrame {
    guard selection.form != .chain else { throw .invalidParameter }
    if intendsToModify { clearWriteRight() }
    return ReferencedFrame(original, injectionTrace)
  }

  /// Moves the context under `tag` from the frame to its clone.
  public mutating func move(_ tag: ContextTag, to clone: inout FrameClone) throws(TaggingError) {
    try contexts.move(tag, from: &packet, to: &clone.packet)
  }

  /// Puts the context under `tag` on the clone too.
  public mutating func copy(_ tag: ContextTag, to clone: inout FrameClone) throws(TaggingError) {
    try contexts.copy(tag, from: packet, to: &clone.packet)
  }

  /// The clone's context under `tag`.
  public mutating func retrieve(
    _ tag: ContextTag, from clone: inout FrameClone, removing: Bool = false
  ) throws(TaggingError) -> UInt64 {
    try contexts.retrieve(tag, from: &clone.packet, removing: removing)
  }

  /// Makes the frame at `index` of the chain the one that tagging and rewriting work on, and, in a
  /// vector, the one that is decided; the first is at the start.
  ///
  /// False, with nothing changed, if there is none.
  @discardableResult
  public mutating func select(_ index: Int) -> Bool {
    guard selection.form != .single, index >= 0, index < selection.count else { return false }
    storeSelected()
    loadSelected(index)
    return true
  }
}
