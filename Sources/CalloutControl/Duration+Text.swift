// SPDX-License-Identifier: Apache-2.0

extension Duration {
  /// The units of durations, longest name first.
  private static let units: [(String, Duration)] = [
    ("us", .microseconds(1)), ("ms", .milliseconds(1)), ("s", .seconds(1)), ("m", .seconds(60)),
    ("h", .seconds(3600)),
  ]

  /// A whole number and a unit: us, ms, s, m or h.
  public init?(text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let number = UInt32(digits),
      let unit = Self.units.first(where: { $0.0 == text.dropFirst(digits.count) })
    else { return nil }
    self = unit.1 * Int(number)
  }
}
