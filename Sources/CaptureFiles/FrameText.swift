// SPDX-License-Identifier: Apache-2.0

/// Why a text is no frame.
public enum FrameTextError: Error, Sendable, Hashable, CustomStringConvertible {
  /// It is longer than any frame's text.
  case tooLong
  /// There is no digit in it.
  case empty
  /// A character is neither a digit nor stands between bytes; the first is number 1.
  case noDigit(Character, position: Int)
  /// A run of digits is odd; its last one is at that place.
  case oddDigits(position: Int)

  /// What is wrong and what was expected.
  public var description: String {
    switch self {
    case .tooLong:
      "found more than \(FrameText.longest) bytes, expected the hexadecimal digits of one frame"
    case .empty: "found no byte, expected hexadecimal digits, two for each"
    case .noDigit(let character, let position):
      "found \(character.debugDescription) at character \(position), expected hexadecimal digits, "
        + "two for each byte, with spaces, colons, dots, dashes or commas between bytes if any"
    case .oddDigits(let position):
      "found half a byte at character \(position), expected two hexadecimal digits for each"
    }
  }
}

/// Frames as text: hexadecimal digits, two a byte.
public enum FrameText {
  /// The longest text of a frame in bytes, with all that stands between its digits.
  public static let longest = 1 << 20

  private static let separators: Set<Character> = [
    " ", "\t", "\n", "\r", "\r\n", ":", "-", ".", ",", "_",
  ]

  /// The bytes that a text spells; each run of digits may begin with 0x.
  public static func bytes(_ text: String) throws(FrameTextError) -> [UInt8] {
    guard text.utf8.count <= longest else { throw .tooLong }
    var bytes: [UInt8] = []
    var half: UInt8?
    var digits = 0
    var position = 0
    for character in text {
      position += 1
      if separators.contains(character) {
        guard half == nil else { throw .oddDigits(position: position - 1) }
        digits = 0
      } else if character == "x" || character == "X", digits == 1, half == 0 {
        (half, digits) = (nil, 0)
      } else if let digit = character.hexDigitValue, character.isASCII {
        digits += 1
        if let high = half {
          bytes.append(high << 4 | UInt8(truncatingIfNeeded: digit))
          half = nil
        } else {
          half = UInt8(truncatingIfNeeded: digit)
        }
      } else {
        throw .noDigit(character, position: position)
      }
    }
    guard half == nil else { throw .oddDigits(position: position) }
    guard !bytes.isEmpty else { throw .empty }
    return bytes
  }
}
