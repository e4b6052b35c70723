// SPDX-License-Identifier: Apache-2.0

internal import LinkLayer

/// Which devices the configured interfaces are, as far as that is known.
///
/// A name stands for the device that has it. A device that is renamed goes on until it goes, or
/// another takes the name; an interface whose device has gone is waited for.
struct InterfaceNames: Sendable, Hashable {
  /// The configured names.
  let names: [String]
  /// The devices that they were at the last look, or nil if they had gone by then.
  private var devices: [String: UInt32?]
  /// Why devices that are there cannot be diverted, by the interface's name.
  private(set) var faults: [String: String] = [:]

  /// Names that may have been looked up before, as `other` knows.
  init(_ names: [String], following other: InterfaceNames? = nil) {
    self.names = names
    devices = other?.devices.filter { names.contains($0.key) } ?? [:]
  }

  /// Looks the names up; returns the first that no device has or has had.
  mutating func look(in present: [LinkDevice]) -> String? {
    let byName = Dictionary(present.map { ($0.name, $0.index) }) { first, _ in first }
    let indexes = Set(present.map(\.index))
    for name in names {
      if let index = byName[name] {
        devices[name] = .some(index)
      } else if let known = devices[name] {
        if let known, !indexes.contains(known) { devices[name] = .some(nil) }
      } else {
        return name
      }
    }
    return nil
  }

  /// Notes that devices have gone, whatever has their numbers now.
  mutating func forget(_ gone: Set<UInt32>) {
    for (name, device) in devices {
      if let device, gone.contains(device) { devices[name] = .some(nil) }
    }
  }

  /// The devices that are there.
  var indexes: Set<UInt32> { Set(devices.values.compactMap { $0 }) }

  /// The names that are waited for.
  var missing: [String] {
    names.filter { name in if case .some(nil) = devices[name] { true } else { false } }
  }

  /// Notes that all of them are diverted that need be.
  mutating func clearFaults() { faults = [:] }

  /// Notes why a device cannot be diverted, or that it is.
  mutating func note(_ fault: String?, of index: UInt32) {
    for (name, device) in devices where device == index { faults[name] = fault }
  }
}
