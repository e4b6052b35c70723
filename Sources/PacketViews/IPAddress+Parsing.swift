// SPDX-License-Identifier: Apache-2.0

extension IPAddress: LosslessStringConvertible {
  /// Parses "10.0.0.1", "fe80::1" or "::ffff:10.0.0.1"; nil for anything else.
  ///
  /// Zone identifiers ("%eth0"), octal and short IPv4 forms are refused.
  public init?(_ description: String) {
    let text = Array(description.utf8)
    let address = text.contains(UInt8(ascii: ":")) ? Self.parseV6(text) : Self.parseV4(text[...])
    guard let address else { return nil }
    self = address
  }

  private static func parseV4(_ text: ArraySlice<UInt8>) -> IPAddress? {
    let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var bits: UInt32 = 0
    for part in parts {
      guard let byte = decimal(part, limit: 255) else { return nil }
      bits = bits << 8 | UInt32(byte)
    }
    return IPAddress(v4: bits)
  }

  private static func parseV6(_ text: [UInt8]) -> IPAddress? {
    guard let gap = firstGap(text) else {
      guard let groups = parseGroups(text[...]), groups.count == 8 else { return nil }
      return IPAddress(groups: groups)
    }
    guard let head = parseGroups(text[..<gap]), let tail = parseGroups(text[(gap + 2)...]),
      head.count + tail.count <= 7, !endsInDotted(text[..<gap])
    else { return nil }
    return IPAddress(
      groups: head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail)
  }

  private static func firstGap(_ text: [UInt8]) -> Int? {
    let colon = UInt8(ascii: ":")
    return text.indices.first { $0 + 1 < text.count && text[$0] == colon && text[$0 + 1] == colon }
  }

  private static func endsInDotted(_ text: ArraySlice<UInt8>) -> Bool {
    text.contains(UInt8(ascii: "."))
  }

  /// The 16-bit groups between colons; the last one may be dotted decimal and counts as two.
  private static func parseGroups(_ text: ArraySlice<UInt8>) -> [UInt16]? {
    guard !text.isEmpty else { return [] }
    let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    guard parts.count <= 8 else { return nil }
    var groups: [UInt16] = []
    for (index, part) in parts.enumerated() {
      if index == parts.count - 1, endsInDotted(part) {
        guard let v4 = parseV4(part) else { return nil }
        groups.append(UInt16(truncatingIfNeeded: v4.low >> 16))
        groups.append(UInt16(truncatingIfNeeded: v4.low))
      } else {
        guard let group = hexadecimal(part) else { return nil }
        groups.append(group)
      }
    }
    return groups
  }

  private init(groups: [UInt16]) {
    var high: UInt64 = 0
    var low: UInt64 = 0
    for group in groups {
      high = high << 16 | low >> 48
      low = low << 16 | UInt64(group)
    }
    self.init(high: high, low: low)
  }

  private static func hexadecimal(_ text: ArraySlice<UInt8>) -> UInt16? {
    guard (1...4).contains(text.count) else { return nil }
    var value: UInt16 = 0
    for character in text {
      let digit: UInt8
      switch character {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = character - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = character - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = character - UInt8(ascii: "A") + 10
      default: return nil
      }
      value = value << 4 | UInt16(digit)
    }
    return value
  }

  /// A number without sign or leading zeros, at most three digits and at most `limit`.
  static func decimal(_ text: ArraySlice<UInt8>, limit: Int) -> Int? {
    guard (1...3).contains(text.count) else { return nil }
    guard text.count == 1 || text.first != UInt8(ascii: "0") else { return nil }
    var value = 0
    for character in text {
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character) else { return nil }
      value = value * 10 + Int(character - UInt8(ascii: "0"))
    }
    return value <= limit ? value : nil
  }
}
