// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Kernel

@Suite struct KernelSymbolsTests {
  private func name(near place: UInt32, in lines: [String]) -> String? {
    var search = KernelSymbols.Search(place: place)
    for line in lines { search.look(at: Array(line.utf8)) }
    return search.found?.name
  }

  @Test(arguments: ["ffffffff", "ffff8000"])
  func `the last function before a place`(upperHalf: String) {
    let lines = [
      "0000000081000000 A fixed_percpu_data", "\(upperHalf)81000000 T _stext",
      "\(upperHalf)81000100 T first", "\(upperHalf)81000200 t second\t[module]",
      "\(upperHalf)81000208 d data", "\(upperHalf)81000300 T third",
      "1234567881000204 T elsewhere",
    ]
    #expect(name(near: 0x8100_0204, in: lines) == "second")
    #expect(name(near: 0x8100_01ff, in: lines) == "first")
    #expect(name(near: 0x8100_0fff, in: lines) == "third")
    #expect(name(near: 0x80ff_ffff, in: lines) == nil)
  }

  @Test func `lines of other shapes are passed over`() {
    let lines = ["", "ffffffff81000000", "ffffffff8100000g T bad", "ffffffff81000000  _stext", "x"]
    #expect(name(near: 0x8100_0204, in: lines) == nil)
  }

  @Test func `where addresses are hidden there is no name`() {
    let lines = ["0000000000000000 T _stext", "0000000000000000 T first"]
    #expect(name(near: 0x8100_0204, in: lines) == nil)
  }
}
