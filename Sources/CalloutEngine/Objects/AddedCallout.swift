// SPDX-License-Identifier: Apache-2.0

/// A callout as filters know it, whether its code is there or not.
///
/// Mirrors `FWPM_CALLOUT0`. A registration, which brings the code, adds its callout too.
public struct AddedCallout: Sendable, Hashable {
  /// The name that filters give.
  public var name: String
  /// What it is known by; nil: chosen when it is added.
  public var key: ObjectKey?
  /// The provider that it belongs to, nil for none.
  public var provider: String?
  /// Whether it outlives the process if a session adds it.
  ///
  /// Mirrors `FWPM_CALLOUT_FLAG_PERSISTENT`.
  public var isPersistent: Bool

  /// A callout without code.
  public init(
    name: String, key: ObjectKey? = nil, provider: String? = nil, isPersistent: Bool = false
  ) {
    self.name = name
    self.key = key
    self.provider = provider
    self.isPersistent = isPersistent
  }
}

extension Filter {
  /// What the filter does while nobody has registered its callout; nil: nothing at all.
  ///
  /// A filter that would have decided blocks, unless its flags say that it permits.
  var actionWithoutCallout: FilterAction? {
    switch action {
    case .permit, .block: action
    case .calloutInspection: nil
    case .calloutTerminating, .calloutUnknown:
      flags.contains(.permitIfCalloutUnregistered) ? .permit : .block
    }
  }

  /// Whether it can match anything, with the numbers of the callouts (-1: not registered).
  func isAtWork(_ numbers: [String: Int32]) -> Bool {
    guard !flags.contains(.disabled) else { return false }
    guard case .calloutInspection(let name) = action else { return true }
    return numbers[name] != -1
  }

  /// Refuses flags that cannot hold for such a filter.
  func checkFlags() throws(PolicyError) {
    if flags.contains(.bootTime) {
      throw .invalidFlags(
        filter: name, flags: "boot-time",
        reason:
          "the engine has no part in what acts before it; put the filter into the policy file, "
          + "and load it at boot by `calloutd rules apply --boot`")
    }
    guard flags.contains(.permitIfCalloutUnregistered) else { return }
    switch action {
    case .calloutTerminating, .calloutUnknown: break
    case .permit, .block, .calloutInspection:
      throw .invalidFlags(
        filter: name, flags: "permit-if-callout-unregistered",
        reason: "only filters of the actions callout-terminating and callout-unknown can block "
          + "for want of their callout")
    }
  }
}
