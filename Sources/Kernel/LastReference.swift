// SPDX-License-Identifier: Apache-2.0

/// Carries the last reference to an object to the thread that is to let go of it.
public final class LastReference<Object: AnyObject>: @unchecked Sendable {
  // @unchecked: who makes it keeps no other reference, and one thread releases it.
  private var object: Object?

  /// Takes over the last reference.
  public init(_ object: consuming Object) { self.object = object }

  /// Lets go of the object, on this thread.
  public func release() { object = nil }
}
