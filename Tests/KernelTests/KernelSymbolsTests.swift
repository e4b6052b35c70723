// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Kernel

@Suite struct KernelSymbolsTests {
  private func name(near place: UInt32, in lines: [String]) throws -> String? {
    let file = URL(fileURLWithPath: NSTemporaryDirectory() + "callout-\(UUID())")
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    return KernelSymbols.name(near: place, in: file.path)
  }

  @Test(arguments: ["ffffffff", "ffff8000"])
  func `the last function before a place`(upperHalf: String) throws {
    let lines = [
      "0000000081000000 A fixed_percpu_data", "\(upperHalf)81000000 T _stext",
      "\(upperHalf)81000100 T first", "\(upperHalf)81000200 t second\t[module]",
      "\(upperHalf)81000208 d data", "\(upperHalf)81000300 T third",
      "1234567881000204 T elsewhere",
    ]
    #expect(try name(near: 0x8100_0204, in: lines) == "second+0x4")
    #expect(try name(near: 0x8100_01ff, in: lines) == "first+0xff")
    #expect(try name(near: 0x8100_0fff, in: lines) == "third+0xcff")
    #expect(try name(near: 0x80ff_ffff, in: lines) == nil)
  }

  @Test func `lines of other shapes are passed over`() throws {
    let lines = ["", "ffffffff81000000", "ffffffff8100000g T bad", "ffffffff81000000  _stext", "x"]
    #expect(try name(near: 0x8100_0204, in: lines) == nil)
  }

  @Test func `a file that is not there has no names`() {
    #expect(KernelSymbols.name(near: 0x8100_0204, in: "/nowhere/kallsyms") == nil)
  }

  @Test func `where addresses are hidden there is no name`() throws {
    let lines = ["0000000000000000 T _stext", "0000000000000000 T first"]
    #expect(try name(near: 0x8100_0204, in: lines) == nil)
  }
}
