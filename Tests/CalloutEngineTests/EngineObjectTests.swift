// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import Testing

@testable import CalloutEngine

@Suite struct EngineObjectTests {
  var objects = EngineObjects()
  let surroundings = EngineObjects.Surroundings(
    FilterPolicy(
      providers: [Provider(name: "host")],
      callouts: [CalloutRegistration(name: "code") { Callout() }]))

  static func make(
    _ name: String, key: ObjectKey? = nil, sublayer: String = "default",
    action: FilterAction = .permit, provider: String? = nil, context: FilterContext = .none
  ) -> Filter {
    Filter(
      name: name, key: key, layer: .inboundIPPacketV4, sublayer: sublayer, action: action,
      provider: provider, context: context)
  }

  /// The status with which `body` is refused.
  static func status(_ body: () throws -> Void) -> WFPStatus? {
    do {
      try body()
      return .success
    } catch let error as EngineError {
      return error.status
    } catch {
      return nil
    }
  }

  @Test func `keys are written as GUIDs and read back`() throws {
    let text = "01234567-89ab-cdef-0123-456789abcdef"
    #expect(ObjectKey(text)?.description == text)
    #expect(ObjectKey(text.uppercased()) == ObjectKey(text))
    #expect(ObjectKey("00000000-0000-0000-0000-000000000001")?.rawValue == 1)
    for wrong in ["", text + "0", text.replacing("-", with: ""), text.replacing("a", with: "+")] {
      #expect(ObjectKey(wrong) == nil, "\(wrong)")
    }
    let keys = Set((0..<1000).map { _ in ObjectKey.random() })
    #expect(keys.count == 1000)
    #expect(keys.allSatisfy { Array("\($0)")[14] == "4" && "89ab".contains(Array("\($0)")[19]) })
  }

  @Test mutating func `what a filter names must be there first`() throws {
    let others = surroundings
    let filters: [(Filter, WFPStatus)] = [
      (Self.make("f", sublayer: "s"), .sublayerNotFound),
      (Self.make("f", action: .calloutUnknown("c")), .calloutNotFound),
      (Self.make("f", provider: "p"), .providerNotFound),
      (Self.make("f", context: .provider("x")), .providerContextNotFound),
    ]
    for (filter, status) in filters {
      #expect(Self.status { _ = try objects.add(filter, session: nil, others) } == status)
    }
    #expect(objects.filters.count == 0)
    _ = try objects.add(Provider(name: "p"), session: nil, others)
    _ = try objects.add(Sublayer(name: "s", weight: 1), session: nil, others)
    _ = try objects.add(AddedCallout(name: "c"), session: nil, others)
    _ = try objects.add(ProviderContext(name: "x", data: [1]), session: nil, others)
    for (filter, _) in filters { _ = try objects.add(filter, session: nil, others) }
    _ = try objects.add(
      Self.make("g", action: .calloutUnknown("code"), provider: "host"), session: nil, others)
    let joined = objects.joined(to: FilterPolicy(providers: [Provider(name: "host")]))
    #expect(joined.filters.map(\.name) == ["f", "f", "f", "f", "g"])
    #expect(joined.addedCallouts.map(\.name) == ["c"] && joined.sublayers.map(\.name) == ["s"])
    #expect(joined.providers.map(\.name) == ["host", "p"])
  }

  @Test mutating func `keys and names are given once`() throws {
    let others = surroundings
    let key = ObjectKey(rawValue: 7)
    #expect(try objects.add(Self.make("f", key: key), session: nil, others) == key)
    let again: [WFPStatus?] = [
      Self.status { _ = try objects.add(Self.make("g", key: key), session: nil, others) },
      Self.status { _ = try objects.add(Provider(name: "host"), session: nil, others) },
      Self.status {
        _ = try objects.add(Sublayer(name: "default", weight: 1), session: nil, others)
      },
    ]
    #expect(again == [.alreadyExists, .alreadyExists, .alreadyExists])
    _ = try objects.add(Sublayer(name: "s", weight: 1), session: nil, others)
    #expect(
      Self.status { _ = try objects.add(Sublayer(name: "s", weight: 2), session: 1, others) }
        == .alreadyExists)
    // Names of filters are for people; a callout that is registered can be added too.
    _ = try objects.add(Self.make("f"), session: nil, others)
    _ = try objects.add(AddedCallout(name: "code"), session: nil, others)
  }

  @Test mutating func `nothing outlives what it names, and sessions leave each other's alone`()
    throws
  {
    let others = surroundings
    let sublayer = try objects.add(Sublayer(name: "s", weight: 1), session: 1, others)
    let filter = Self.make("f", sublayer: "s")
    #expect(Self.status { _ = try objects.add(filter, session: nil, others) } == .lifetimeMismatch)
    #expect(Self.status { _ = try objects.add(filter, session: 2, others) } == .wrongSession)
    let key = try objects.add(filter, session: 1, others)
    #expect(Self.status { try objects.deleteFilter(key, session: 2) } == .wrongSession)
    #expect(Self.status { try objects.deleteFilter(key, session: nil) } == .wrongSession)
    #expect(Self.status { try objects.deleteSublayer(sublayer, session: 1) } == .inUse)
    let lasting = try objects.add(Self.make("lasting"), session: nil, others)
    objects.deleteAll(ofSession: 2)
    #expect(objects.filters.count == 2)
    objects.deleteAll(ofSession: 1)
    #expect(objects.filters.all.map(\.name) == ["lasting"] && objects.sublayers.count == 0)
    // What is nobody's can be deleted by everybody.
    try objects.deleteFilter(lasting, session: 2)
    #expect(Self.status { try objects.deleteFilter(lasting, session: 2) } == .filterNotFound)
  }

  @Test mutating func `what is named cannot be deleted`() throws {
    let others = surroundings
    let provider = try objects.add(Provider(name: "p"), session: nil, others)
    let callout = try objects.add(AddedCallout(name: "c", provider: "p"), session: nil, others)
    let context = try objects.add(ProviderContext(name: "x", data: []), session: nil, others)
    let filter = try objects.add(
      Self.make("f", action: .calloutInspection("c"), context: .provider("x")), session: nil,
      others)
    #expect(Self.status { try objects.deleteCallout(callout, session: nil) } == .inUse)
    #expect(Self.status { try objects.deleteProviderContext(context, session: nil) } == .inUse)
    #expect(Self.status { try objects.deleteProvider(provider, session: nil) } == .inUse)
    try objects.deleteFilter(filter, session: nil)
    try objects.deleteCallout(callout, session: nil)
    try objects.deleteProviderContext(context, session: nil)
    try objects.deleteProvider(provider, session: nil)
  }

  @Test mutating func `where nothing is kept nothing is persistent, nor is a dynamic session's`()
    throws
  {
    var filter = Self.make("f")
    filter.flags = .persistent
    let (others, kept) = (surroundings, filter)
    var keeping = surroundings
    keeping.keepsObjects = true
    let store = keeping
    #expect(Self.status { _ = try objects.add(kept, session: nil, others) } == .invalidFlags)
    let provider = Provider(name: "p", isPersistent: true)
    #expect(Self.status { _ = try objects.add(provider, session: nil, others) } == .invalidFlags)
    let refusals = [
      Self.status { _ = try objects.add(kept, session: 1, store) },
      Self.status { _ = try objects.add(provider, session: 1, store) },
      Self.status {
        _ = try objects.add(Sublayer(name: "s", weight: 1, isPersistent: true), session: 1, store)
      },
      Self.status {
        _ = try objects.add(AddedCallout(name: "c", isPersistent: true), session: 1, store)
      },
      Self.status {
        _ = try objects.add(
          ProviderContext(name: "x", data: [], isPersistent: true), session: 1, store)
      },
    ]
    #expect(refusals == [WFPStatus?](repeating: .dynamicSessionInProgress, count: 5))
    #expect(objects.persistent == PersistentObjects())
    _ = try objects.add(kept, session: nil, store)
    #expect(objects.persistent.filters.map(\.name) == ["f"])
  }

  @Test mutating func `what is persistent names only what is, or the policy's`() throws {
    var others = EngineObjects.Surroundings(
      FilterPolicy(callouts: [CalloutRegistration(name: "code") { Callout() }]),
      registrations: [CalloutRegistration(name: "guest") { Callout() }])
    others.keepsObjects = true
    let store = others
    func kept(_ filter: Filter) -> Filter {
      var filter = filter
      filter.flags.insert(.persistent)
      return filter
    }
    _ = try objects.add(Provider(name: "p"), session: nil, store)
    _ = try objects.add(Sublayer(name: "s", weight: 1), session: nil, store)
    _ = try objects.add(AddedCallout(name: "c"), session: nil, store)
    _ = try objects.add(ProviderContext(name: "x", data: []), session: nil, store)
    let refused = [
      Self.make("f", provider: "p"), Self.make("f", sublayer: "s"),
      Self.make("f", action: .calloutUnknown("c")), Self.make("f", context: .provider("x")),
      Self.make("f", action: .calloutUnknown("guest")),
    ]
    for filter in refused {
      let long = kept(filter)
      #expect(Self.status { _ = try objects.add(long, session: nil, store) } == .lifetimeMismatch)
      // What lives no longer may name it.
      _ = try objects.add(filter, session: nil, store)
    }
    let owned = Sublayer(name: "t", weight: 1, provider: "p", isPersistent: true)
    #expect(Self.status { _ = try objects.add(owned, session: nil, store) } == .lifetimeMismatch)
    _ = try objects.add(kept(Self.make("f", action: .calloutUnknown("code"))), session: nil, store)
    // Code without which the filter can be: it is added for good too.
    _ = try objects.add(AddedCallout(name: "guest", isPersistent: true), session: nil, store)
    _ = try objects.add(kept(Self.make("g", action: .calloutUnknown("guest"))), session: nil, store)

    var later = EngineObjects()
    try later.add(objects.persistent, store)
    #expect(later.persistent == objects.persistent)
    #expect(later.filters.all.map(\.name) == ["f", "g"])
    // A policy that lacks what is named, or has what is added.
    let poor = EngineObjects.Surroundings(FilterPolicy(), keepsObjects: true)
    #expect(
      Self.status {
        var objects = EngineObjects()
        try objects.add(later.persistent, poor)
      } == .calloutNotFound)
    #expect(Self.status { try later.add(later.persistent, store) } == .alreadyExists)
  }

  @Test func `a filter's number comes with each packet`() throws {
    let bench = Bench()
    var seen: [UInt64] = []
    var filters = [filter(.calloutInspection("c")), filter(.calloutInspection("c"))]
    filters[0].context = .raw(.max)
    try bench.adopt(filters, [("c", { _, out in seen.append(out.filterContext) })])
    _ = try bench.decide()
    #expect(seen == [.max, 0])
  }
}
