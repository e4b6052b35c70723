// SPDX-License-Identifier: Apache-2.0

/// A reference to an object that somebody else keeps alive, used without counting.
///
/// Whoever makes one promises to hold the object as long as the reference is used.
@safe
public struct HeldObject<Object: AnyObject>: BitwiseCopyable {
  @usableFromInline let reference: Unmanaged<Object>

  /// A reference to an object that the caller goes on holding.
  public init(heldByCaller object: Object) {
    unsafe reference = .passUnretained(object)
  }

  /// Uses the object.
  @inlinable
  @inline(__always)
  public func use(_ body: (Object) -> Void) {
    // Safe by the promise above.
    unsafe reference._withUnsafeGuaranteedRef { body($0) }
  }
}
