// SPDX-License-Identifier: Apache-2.0

/// Settings that a provider leaves for callouts, under a name that filters can give.
///
/// Mirrors `FWPM_PROVIDER_CONTEXT0` of the type `FWPM_GENERAL_CONTEXT`.
public struct ProviderContext: Sendable, Hashable {
  /// Its name, unique in a policy.
  public var name: String
  /// What it is known by; nil: chosen when it is added.
  public var key: ObjectKey?
  /// The provider that it belongs to, nil for none.
  public var provider: String?
  /// The settings, which only the callout reads.
  public var data: [UInt8]
  /// Whether it outlives the process if a session adds it.
  ///
  /// Mirrors `FWPM_PROVIDER_CONTEXT_FLAG_PERSISTENT`.
  public var isPersistent: Bool

  /// A provider context.
  public init(
    name: String, key: ObjectKey? = nil, provider: String? = nil, data: [UInt8],
    isPersistent: Bool = false
  ) {
    self.name = name
    self.key = key
    self.provider = provider
    self.data = data
    self.isPersistent = isPersistent
  }
}

/// What a filter has for its callout.
///
/// Mirrors the union of `rawContext` and `providerContextKey` in `FWPM_FILTER0`.
public enum FilterContext: Sendable, Hashable {
  /// Nothing.
  case none
  /// A number, which the callout finds as `Classification.filterContext`.
  case raw(UInt64)
  /// The provider context of this name, which the callout gets when the filter is added.
  case provider(String)

  /// The number that goes with each packet, 0 for none.
  var number: UInt64 {
    if case .raw(let number) = self { number } else { 0 }
  }
}

extension FilterPolicy {
  /// The provider context that a filter names, nil for none.
  package func context(of filter: Filter) -> ProviderContext? {
    guard case .provider(let name) = filter.context else { return nil }
    return providerContexts.first { $0.name == name }
  }
}
