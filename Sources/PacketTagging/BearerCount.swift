// SPDX-License-Identifier: Apache-2.0

public import Kernel

/// Which buffers of the kernel bear one handle, counted where the kernel lets its functions be
/// followed.
///
/// Written by programs inside the kernel, so its layout is that of `struct bearers` in
/// `lifecycle.h`.
public struct BearerCount: BitwiseCopyable, Sendable, Equatable {
  /// The sum of the addresses of the buffers that came less those that went; the first bearer never
  /// came.
  public var change: UInt64 = 0
  /// The low half of the address that came last.
  public var came: UInt32 = 0
  /// The low half of the address that went last.
  public var gone: UInt32 = 0
  /// When a copy was made last, as `Sighting` tells times.
  public var copied: UInt32 = 0
  /// Clones, and in the upper half duplicates.
  public var copies: UInt32 = 0
  /// As many of them as events have told of; the kernel does not touch it.
  var told: UInt32 = 0
  private var unused: UInt32 = 0

  /// Nothing counted.
  public init() {}

  /// Clones of which no event has told.
  var untoldClones: Int { max(0, Int(copies & 0xffff) - Int(told & 0xffff)) }
  /// Duplicates of which no event has told.
  var untoldDuplicates: Int { max(0, Int(copies >> 16) - Int(told >> 16)) }

  /// Of a handle whose packet was tagged before its bearers were counted.
  static var unknown: BearerCount {
    var count = BearerCount()
    count.forget()
    return count
  }

  /// Whether every bearer was seen to come: addresses are even.
  var isKnown: Bool { change & 1 == 0 }

  /// Gives the count up, for good: the kernel adds even numbers only.
  mutating func forget() { change |= 1 }

  /// Whether no buffer bears the handle any more, `first` having been its first bearer.
  func isOver(first: UInt64) -> Bool { first != 0 && change &+ first == 0 }
}

extension SharedView<BearerCount> {
  /// Whether they are counted now.
  ///
  /// Kept under handle 0, which is none.
  public var isCounting: Bool {
    get { self[0].told != 0 }
    nonmutating set { self[0].told = newValue ? 1 : 0 }
  }
}
