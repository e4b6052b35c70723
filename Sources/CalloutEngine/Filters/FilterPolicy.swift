// SPDX-License-Identifier: Apache-2.0

public import PacketTagging

/// Everything that decides packets, as one value: it is put in force as a whole or not at all.
public struct FilterPolicy: Sendable {
  /// Whom the objects belong to.
  public var providers: [Provider]
  /// The bands of filters.
  public var sublayers: [Sublayer]
  /// The callouts that filters can name.
  public var callouts: [CalloutRegistration]
  /// The filters.
  public var filters: [Filter]

  /// A policy.
  ///
  /// The sublayer "default" of weight 0x8000 always exists.
  public init(
    providers: [Provider] = [], sublayers: [Sublayer] = [],
    callouts: [CalloutRegistration] = [], filters: [Filter] = []
  ) {
    self.providers = providers
    self.sublayers = sublayers
    self.callouts = callouts
    self.filters = filters
  }

  /// The layers at which there are filters.
  public var layers: Set<Layer> { Set(filters.map(\.layer)) }
}

/// Why a policy cannot be put in force; the one in force stays.
public enum PolicyError: Error, Sendable, Hashable, CustomStringConvertible {
  /// A filter names a sublayer that is not there. `STATUS_FWP_SUBLAYER_NOT_FOUND`.
  case unknownSublayer(filter: String, sublayer: String)
  /// A filter names a callout that is not there. `STATUS_FWP_CALLOUT_NOT_FOUND`.
  case unknownCallout(filter: String, callout: String)
  /// Two sublayers or two callouts have the same name. `STATUS_FWP_ALREADY_EXISTS`.
  case duplicate(kind: String, name: String)
  /// Packets at this layer have no such field; `instead` says which to use, if any serves.
  /// `STATUS_FWP_CONDITION_NOT_FOUND`.
  case fieldNotAtLayer(filter: String, field: String, layer: String, instead: String?)
  /// The condition's value is not of the field's type. `STATUS_FWP_TYPE_MISMATCH`.
  case typeMismatch(filter: String, field: String, expected: String)
  /// Values of the field's type cannot be compared so. `STATUS_FWP_MATCH_TYPE_MISMATCH`.
  case matchTypeMismatch(filter: String, field: String, expected: String)
  /// A range ends before it begins. `STATUS_FWP_INVALID_RANGE`.
  case invalidRange(filter: String, field: String)
  /// No packets are indicated at this layer. `STATUS_FWP_INCOMPATIBLE_LAYER`.
  case layerHasNoPackets(filter: String, layer: String)
  /// An object belongs to a provider that is not there. `STATUS_FWP_PROVIDER_NOT_FOUND`.
  case unknownProvider(kind: String, name: String, provider: String)
  /// An object of another provider would be changed or removed. `STATUS_ACCESS_DENIED`.
  case foreignObject(kind: String, name: String, provider: String)

  /// What is wrong and what would be right.
  public var description: String {
    switch self {
    case .unknownSublayer(let filter, let sublayer):
      "filter \"\(filter)\": there is no sublayer \"\(sublayer)\"; add it to sublayers"
    case .unknownCallout(let filter, let callout):
      "filter \"\(filter)\": there is no callout \"\(callout)\"; add it to callouts"
    case .duplicate(let kind, let name):
      "two \(kind) are named \"\(name)\"; names must be unique"
    case .fieldNotAtLayer(let filter, let field, let layer, let instead):
      "filter \"\(filter)\": packets at \(layer) have no \(field)"
        + (instead.map { "; use \($0)" } ?? "")
    case .typeMismatch(let filter, let field, let expected):
      "filter \"\(filter)\": \(field) takes \(expected)"
    case .matchTypeMismatch(let filter, let field, let expected):
      "filter \"\(filter)\": \(field) takes \(expected)"
    case .invalidRange(let filter, let field):
      "filter \"\(filter)\": \(field) takes a range whose first value is not above its last"
    case .layerHasNoPackets(let filter, let layer):
      "filter \"\(filter)\": no packets are indicated at \(layer)"
    case .unknownProvider(let kind, let name, let provider):
      "\(kind) \"\(name)\": there is no provider \"\(provider)\"; add it to providers"
    case .foreignObject(let kind, let name, let provider):
      "\(kind) \"\(name)\" belongs to provider \"\(provider)\"; only that may change or remove it"
    }
  }
}
