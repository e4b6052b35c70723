// SPDX-License-Identifier: Apache-2.0

internal import CLibBPF
internal import Kernel
internal import PacketTagging

/// What the programs write, as the kernel holds it.
struct ObserverMaps: ~Copyable {
  let sightings: OwnedDescriptor
  let bearers: OwnedDescriptor

  init(capacity: Int) throws(ObserverError) {
    let seen = try Self.make("callout_seen", of: Sighting.self, capacity)
    bearers = try Self.make("callout_bearers", of: BearerCount.self, capacity)
    sightings = seen
  }

  private static func make<Element>(
    _ name: String, of type: Element.Type, _ capacity: Int
  ) throws(ObserverError) -> OwnedDescriptor {
    do {
      return try OwnedDescriptor(
        checking: unsafe clb_make_array(
          name, UInt32(MemoryLayout<Element>.stride), UInt32(capacity)),
        operation: "make a BPF map")
    } catch {
      throw .noMap(error)
    }
  }
}
