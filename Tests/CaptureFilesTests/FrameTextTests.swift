// SPDX-License-Identifier: Apache-2.0

import CaptureFiles
import Testing

struct FrameTextTests {
  @Test(arguments: [
    "0180c2", "01 80 c2", "01:80:C2", "01-80-c2", "0180.c2", " 01\t80\nc2\r\n", "0x01, 0x80, 0xc2",
    "0x0180c2", "01_80_c2", "0X0180 c2",
  ])
  func `bytes are read with or without anything between them`(text: String) throws {
    #expect(try FrameText.bytes(text) == [0x01, 0x80, 0xc2])
  }

  @Test func `a text longer than any frame is refused`() throws {
    let longest = String(repeating: "a", count: FrameText.longest)
    #expect(try FrameText.bytes(longest).count == FrameText.longest / 2)
    #expect(throws: FrameTextError.tooLong) { try FrameText.bytes(longest + " ") }
    #expect("\(FrameTextError.tooLong)".contains("expected"))
  }

  @Test(arguments: [
    ("", FrameTextError.empty), (" : ", .empty), ("0x", .empty), ("012", .oddDigits(position: 3)),
    ("01 2 34", .oddDigits(position: 4)), ("01 zz", .noDigit("z", position: 4)),
    ("01x2", .noDigit("x", position: 3)), ("x1", .noDigit("x", position: 1)),
    ("10x1", .noDigit("x", position: 3)), ("٣٤", .noDigit("٣", position: 1)),
  ])
  func `what is no frame is told with its place`(text: String, error: FrameTextError) {
    #expect(throws: error) { try FrameText.bytes(text) }
    #expect("\(error)".contains("expected"))
  }
}
