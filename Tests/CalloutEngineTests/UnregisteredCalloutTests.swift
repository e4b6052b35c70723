// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import Testing

@testable import CalloutEngine

@Suite struct UnregisteredCalloutTests {
  let bench = Bench()

  /// The decision of one filter whose callout is added but not registered, over a lower sublayer's.
  func outcome(
    _ action: FilterAction, _ flags: FilterFlags = [], below: FilterAction = .permit
  ) throws -> String {
    var first = filter(action, sublayer: "high")
    first.flags = flags
    bench.policy = try CompiledPolicy(
      FilterPolicy(
        sublayers: [Sublayer(name: "high", weight: 0xffff)], filters: [first, filter(below)],
        addedCallouts: [AddedCallout(name: "absent")]))
    bench.callouts = []
    bench.hits = [0, 0]
    return "\(try bench.decide().text) \(bench.hits)"
  }

  @Test func `a callout that is not registered blocks where it would decide`() throws {
    #expect(try outcome(.calloutTerminating("absent")) == "block [1, 1]")
    #expect(try outcome(.calloutUnknown("absent")) == "block [1, 1]")
    #expect(try outcome(.calloutInspection("absent")) == "permit [0, 1]")
    #expect(try outcome(.calloutInspection("absent"), below: .block) == "block [0, 1]")
  }

  @Test func `without a callout a filter permits softly, or hard if its flags say so`()
    throws
  {
    let flags = FilterFlags.permitIfCalloutUnregistered
    for action in [FilterAction.calloutTerminating("absent"), .calloutUnknown("absent")] {
      #expect(try outcome(action, flags) == "permit [1, 1]")
      #expect(try outcome(action, flags, below: .block) == "block [1, 1]")
      #expect(try outcome(action, flags.union(.clearActionRight), below: .block) == "permit [1, 1]")
      #expect(try outcome(action, [flags, .disabled]) == "permit [0, 1]")
    }
  }

  @Test func `a callout that is neither registered nor added is an error`() {
    #expect(throws: PolicyError.unknownCallout(filter: "f", callout: "other")) {
      try outcome(.calloutUnknown("other"))
    }
  }

  @Test func `flags that cannot hold are refused with what to do instead`() {
    let impossible: [(FilterAction, FilterFlags, String)] = [
      (.permit, .permitIfCalloutUnregistered, "permit-if-callout-unregistered"),
      (.calloutInspection("absent"), .bootTime, "boot-time"),
      (.block, .bootTime, "boot-time"), (.permit, .bootTime, "boot-time"),
    ]
    for (action, flags, name) in impossible {
      let error = #expect(throws: PolicyError.self) { try outcome(action, flags) }
      guard case .invalidFlags("f", name, _)? = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
    }
  }
}
