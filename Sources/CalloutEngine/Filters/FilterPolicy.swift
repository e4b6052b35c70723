// SPDX-License-Identifier: Apache-2.0

public import PacketTagging

/// Everything that decides packets, as one value: it is put in force as a whole or not at all.
public struct FilterPolicy: Sendable {
  /// Whom the objects belong to.
  public var providers: [Provider]
  /// The bands of filters.
  public var sublayers: [Sublayer]
  /// The callouts that filters can name, with their code.
  public var callouts: [CalloutRegistration]
  /// Callouts that filters can name although there may be no code.
  ///
  /// Filters that would have one of these decide, and that is not among `callouts`, block; those
  /// that would only show it packets do nothing.
  public var addedCallouts: [AddedCallout]
  /// Settings for callouts that filters can name.
  public var providerContexts: [ProviderContext]
  /// The filters.
  public var filters: [Filter]

  /// A policy.
  ///
  /// The sublayer "default" of weight 0x8000 always exists.
  public init(
    providers: [Provider] = [], sublayers: [Sublayer] = [],
    callouts: [CalloutRegistration] = [], filters: [Filter] = [],
    addedCallouts: [AddedCallout] = [], providerContexts: [ProviderContext] = []
  ) {
    self.providers = providers
    self.sublayers = sublayers
    self.callouts = callouts
    self.addedCallouts = addedCallouts
    self.providerContexts = providerContexts
    self.filters = filters
  }

  /// The layers at which there are filters.
  public var layers: Set<Layer> {
    var numbers = [Bool](repeating: false, count: Layer.tableSize)
    // By index: workers ask, and there can be very many filters to retain.
    for index in filters.indices { numbers[Int(filters[index].layer.rawValue)] = true }
    return Set(Layer.allCases.filter { numbers[Int($0.rawValue)] })
  }
}

/// Why a policy cannot be put in force; the one in force stays.
public enum PolicyError: Error, Sendable, Hashable, CustomStringConvertible {
  /// A filter names a sublayer that is not there. `STATUS_FWP_SUBLAYER_NOT_FOUND`.
  case unknownSublayer(filter: String, sublayer: String)
  /// A filter names a callout that is not there. `STATUS_FWP_CALLOUT_NOT_FOUND`.
  case unknownCallout(filter: String, callout: String)
  /// A filter names a provider context that is not there. `STATUS_FWP_PROVIDER_CONTEXT_NOT_FOUND`.
  case unknownProviderContext(filter: String, context: String)
  /// Two objects of a kind have the same name or the same key. `STATUS_FWP_ALREADY_EXISTS`.
  case duplicate(kind: String, name: String)
  /// Packets at this layer have no such field; `instead` says which to use, if any serves.
  /// `STATUS_FWP_CONDITION_NOT_FOUND`.
  case fieldNotAtLayer(filter: String, field: String, layer: String, instead: String?)
  /// Linux cannot tell this field. `STATUS_FWP_CONDITION_NOT_FOUND`.
  case fieldUnavailable(filter: String, field: String, layer: String, reason: String)
  /// The condition's value is not of the field's type. `STATUS_FWP_TYPE_MISMATCH`.
  case typeMismatch(filter: String, field: String, expected: String)
  /// Values of the field's type cannot be compared so. `STATUS_FWP_MATCH_TYPE_MISMATCH`.
  case matchTypeMismatch(filter: String, field: String, expected: String)
  /// A range ends before it begins. `STATUS_FWP_INVALID_RANGE`.
  case invalidRange(filter: String, field: String)
  /// The filter cannot have these flags. `STATUS_FWP_INVALID_FLAGS`.
  case invalidFlags(filter: String, flags: String, reason: String)
  /// No packets are indicated at this layer. `STATUS_FWP_INCOMPATIBLE_LAYER`.
  case layerHasNoPackets(filter: String, layer: String)
  /// Nothing can be decided at this layer. `STATUS_FWP_ACTION_INCOMPATIBLE_WITH_LAYER`.
  case inspectionOnly(filter: String, layer: String)
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
    case .unknownProviderContext(let filter, let context):
      "filter \"\(filter)\": there is no provider context \"\(context)\"; add it to "
        + "provider-contexts"
    case .duplicate(let kind, let name):
      "two \(kind) are named \"\(name)\"; names and keys must be unique"
    case .fieldNotAtLayer(let filter, let field, let layer, let instead):
      "filter \"\(filter)\": packets at \(layer) have no \(field)"
        + (instead.map { "; use \($0)" } ?? "")
    case .fieldUnavailable(let filter, let field, let layer, let reason):
      "filter \"\(filter)\": \(field) is not known of packets at \(layer): \(reason)"
    case .typeMismatch(let filter, let field, let expected):
      "filter \"\(filter)\": \(field) takes \(expected)"
    case .matchTypeMismatch(let filter, let field, let expected):
      "filter \"\(filter)\": \(field) takes \(expected)"
    case .invalidRange(let filter, let field):
      "filter \"\(filter)\": \(field) takes a range whose first value is not above its last"
    case .invalidFlags(let filter, let flags, let reason):
      "filter \"\(filter)\" cannot be \(flags): \(reason)"
    case .layerHasNoPackets(let filter, let layer):
      "filter \"\(filter)\": no packets are indicated at \(layer)"
    case .inspectionOnly(let filter, let layer):
      "filter \"\(filter)\": nothing can be decided at \(layer); only callout-inspection can stand "
        + "there"
    case .unknownProvider(let kind, let name, let provider):
      "\(kind) \"\(name)\": there is no provider \"\(provider)\"; add it to providers"
    case .foreignObject(let kind, let name, let provider):
      "\(kind) \"\(name)\" belongs to provider \"\(provider)\"; only that may change or remove it"
    }
  }
}
