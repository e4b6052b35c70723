// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine

/// What the policy in force is made of.
struct EngineState: Sendable {
  /// What the bridge was started with, or what was applied since.
  var policy = FilterPolicy()
  /// Callouts that were registered apart from the policy.
  var registrations: [CalloutRegistration] = []
  /// What sessions have added.
  var objects = EngineObjects()
  /// Whether persistent objects are kept, and those that were are among the objects.
  var keepsObjects = false

  /// The policy and the registrations, without what sessions have added.
  var withoutObjects: FilterPolicy {
    var policy = policy
    policy.callouts += registrations
    return policy
  }

  /// What objects can name beside each other.
  var surroundings: EngineObjects.Surroundings {
    EngineObjects.Surroundings(policy, registrations: registrations, keepsObjects: keepsObjects)
  }

  /// All of it.
  var joined: FilterPolicy { objects.joined(to: withoutObjects) }

  /// Takes a callout's code away; what names the callout stays.
  mutating func unregister(_ name: String) throws(BridgeError) {
    if let place = registrations.firstIndex(where: { $0.name == name }) {
      registrations.remove(at: place)
      return
    }
    guard let place = policy.callouts.firstIndex(where: { $0.name == name }) else {
      throw .engine(.notFound(.callout, name))
    }
    let callout = policy.callouts.remove(at: place)
    guard !policy.addedCallouts.contains(where: { $0.name == name }) else { return }
    policy.addedCallouts.append(AddedCallout(name: name, provider: callout.provider))
  }
}
