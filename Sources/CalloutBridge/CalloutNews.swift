// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine

/// What callouts are told of a change of policy; made where no packet waits for it.
struct CalloutNews: Sendable {
  /// A filter that names a callout, and the provider context that it names.
  struct Item: Sendable {
    var filter: Filter
    var callout: String
    var context: ProviderContext?
  }

  /// Filters that come.
  var added: [Item] = []
  /// Filters that go.
  var deleted: [Item] = []

  /// What one policy has that the other has not.
  init(from old: FilterPolicy, to new: FilterPolicy) {
    added = Self.items(of: new, besides: old)
    deleted = Self.items(of: old, besides: new)
  }

  private static func items(of policy: FilterPolicy, besides other: FilterPolicy) -> [Item] {
    let known = Set(other.filters.lazy.filter { $0.action.callout != nil })
    return policy.filters.compactMap { filter in
      guard let callout = filter.action.callout, !known.contains(filter) else { return nil }
      return Item(filter: filter, callout: callout, context: policy.context(of: filter))
    }
  }
}
