// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LinkLayer

struct HelperNoteTests {
  @Test func `the bits of another process are read from its note, our own are not`() {
    #expect(HelperDevices.foreignMark(in: "callout mark 0xffffff0 of 1a2b") == 0x0fff_fff0)
    #expect(HelperDevices.foreignMark(in: HelperDevices.note(0x0fff_fff0)) == nil)
  }

  @Test(arguments: [
    "", "callout mark 0x", "callout mark 0xzz of 1", "callout mark 0x1ffffffff of 1",
    "callout mark 0xff of", "somebody's device",
  ])
  func `what is no note tells of none`(note: String) {
    #expect(HelperDevices.foreignMark(in: note) == nil)
  }
}
