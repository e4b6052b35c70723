// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CalloutBridge
@testable import LinkLayer

struct InterfaceNamesTests {
  private func device(_ index: UInt32, _ name: String) -> LinkDevice {
    var device = LinkDevice(index: index, kind: 1, flags: 1)
    device.name = name
    return device
  }

  @Test func `a name that no device has or has had is told`() {
    var names = InterfaceNames(["a", "b"])
    #expect(names.look(in: [device(2, "a")]) == "b")
    #expect(names.look(in: [device(2, "a"), device(3, "b")]) == nil)
    #expect(names.indexes == [2, 3])
  }

  @Test func `a device that has gone is waited for, also by the next list`() {
    var names = InterfaceNames(["a"])
    #expect(names.look(in: [device(2, "a")]) == nil)
    #expect(names.look(in: []) == nil)
    #expect(names.missing == ["a"] && names.indexes.isEmpty)
    var next = InterfaceNames(["a", "b"], following: names)
    #expect(next.look(in: [device(3, "b")]) == nil)
    #expect(next.missing == ["a"] && next.indexes == [3])
    #expect(next.look(in: [device(4, "a"), device(3, "b")]) == nil)
    #expect(next.missing.isEmpty && next.indexes == [3, 4])
  }

  @Test func `a renamed device goes on until another takes the name`() {
    var names = InterfaceNames(["a"])
    #expect(names.look(in: [device(2, "a")]) == nil)
    #expect(names.look(in: [device(2, "z")]) == nil)
    #expect(names.indexes == [2])
    #expect(names.look(in: [device(2, "z"), device(3, "a")]) == nil)
    #expect(names.indexes == [3])
  }

  @Test func `a device that went is not taken for the one that has its number now`() {
    var names = InterfaceNames(["a"])
    #expect(names.look(in: [device(2, "a")]) == nil)
    names.forget([2])
    #expect(names.look(in: [device(2, "other")]) == nil)
    #expect(names.missing == ["a"])
  }

  @Test func `what is wrong with a device is told until it is diverted`() {
    var names = InterfaceNames(["a"])
    #expect(names.look(in: [device(2, "a")]) == nil)
    names.note("no", of: 2)
    #expect(names.faults == ["a": "no"])
    names.note(nil, of: 2)
    #expect(names.faults.isEmpty)
  }
}
