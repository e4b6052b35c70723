// SPDX-License-Identifier: Apache-2.0

// Safe because the spans check each offset against their bounds, and integers have no invalid bits.
// Callers have checked it before, so that nothing from outside makes these trap.
extension RawSpan {
  @inline(__always)
  func host<Value: FixedWidthInteger & BitwiseCopyable>(
    _ at: Int, as type: Value.Type = Value.self
  ) -> Value {
    unsafe unsafeLoadUnaligned(fromByteOffset: at, as: type)
  }
}

extension MutableRawSpan {
  @inline(__always)
  @_lifetime(self: copy self)
  mutating func storeHost<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at: Int) {
    storeBytes(of: value, toByteOffset: at, as: Value.self)
  }
}
