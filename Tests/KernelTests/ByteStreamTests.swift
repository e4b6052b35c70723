// SPDX-License-Identifier: Apache-2.0

import Kernel
import Testing

struct ByteStreamTests {
  @Test func `lines end at a newline, at the limit or with the file`() throws {
    var stream = ByteStream(Array("ab\n\nabc\nabcdef\n12".utf8))
    var lines: [String] = []
    while let line = try stream.takeLine(limit: 3) {
      lines.append(String(decoding: line, as: UTF8.self))
    }
    #expect(lines == ["ab", "", "abc", "abcd", "ef", "12"])
    #expect(stream.position == 17)
  }

  @Test func `no more than the limit is read of a line without an end`() throws {
    var stream = try ByteStream(at: "/dev/zero")
    #expect(try stream.takeLine(limit: 1 << 20)?.count == (1 << 20) + 1)
  }
}
