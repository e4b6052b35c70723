// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The process' standard streams, unbuffered.
public enum StandardStream: CInt, Sendable {
  /// Standard output.
  case output = 1
  /// Standard error.
  case error = 2

  /// Writes all bytes; false if the stream does not take them, as a closed pipe.
  @discardableResult
  public func write(_ bytes: [UInt8]) -> Bool {
    var sent = 0
    while sent < bytes.count {
      let count = retryingInterrupts {
        unsafe bytes.withUnsafeBytes { buffer in
          unsafe Glibc.write(rawValue, buffer.baseAddress?.advanced(by: sent), buffer.count - sent)
        }
      }
      guard count > 0 else { return false }
      sent += count
    }
    return true
  }
}
