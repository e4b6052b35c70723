// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import Kernel

/// A device that exists as long as this value: frames are redirected to it, and tapped as it sends.
///
/// A non-persistent TAP device that never queues a frame, so no stack ever receives one.
struct TapDevice: ~Copyable, Sendable {
  /// The device's largest frame is 65535 bytes with its MAC header.
  private static let mtu: UInt32 = 65521

  let name: String
  let index: UInt32
  private let descriptor: OwnedDescriptor

  /// Makes the helper for one device and direction; it is down.
  init(for device: UInt32, _ direction: LinkDirection) throws(DivertError) {
    let first = HelperDevices.name(device, direction)
    var failure = SystemError("make the device \(first)", errno: EBUSY)
    for name in [first] + (1...9).map({ "\(first).\($0)" }) {
      let number = unsafe clx_open_tap(name)
      if number < 0 {
        failure = .current("make the device \(name)")
        // Another program diverts the same device.
        if failure.errno == EBUSY { continue }
        break
      }
      let index = unsafe if_nametoindex(name)
      guard index != 0 else {
        failure = .current("find the device \(name)")
        _ = close(number)
        break
      }
      self.name = name
      self.index = index
      descriptor = OwnedDescriptor(owning: number)
      return
    }
    switch failure.errno {
    case EPERM, EACCES: throw .notPermitted
    case ENOENT, ENODEV: throw .noTap(failure)
    default: throw .noHelper(failure)
    }
  }

  /// Has a program decide what is queued.
  func filter(by program: borrowing OwnedDescriptor) throws(DivertError) {
    guard clx_filter_tap(descriptor.number, program.number) == 0 else {
      throw .noHelper(.current("filter the device \(name)"))
    }
  }

  /// Notes whose bits of the mark its frames bear, and sets the device up.
  func ready(markMask: UInt32) throws(DivertError) {
    guard unsafe clx_set_alias(index, HelperDevices.note(markMask)) == 0 else {
      throw .noHelper(.current("name the owner of the device \(name)"))
    }
    guard unsafe clx_ready_helper(name, Self.mtu) == 0 else {
      throw .noHelper(.current("set up the device \(name)"))
    }
  }
}

/// The helper devices of this thread's network namespace.
///
/// They go with their process, however it ends, so nothing should ever be left.
public enum HelperDevices {
  static func name(_ device: UInt32, _ direction: LinkDirection) -> String {
    (direction == .inbound ? "coi" : "coo") + String(device)
  }

  /// Whether a device of that name may be a helper.
  public static func isName(_ name: String) -> Bool {
    guard name.hasPrefix("coi") || name.hasPrefix("coo") else { return false }
    let parts = name.utf8.dropFirst(3).split(
      separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    let areNumbers = parts.allSatisfy { part in
      !part.isEmpty && part.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }
    return areNumbers && parts.count <= 2
  }

  /// What tells our helpers from those of other processes.
  private static let owner = String(UInt64.random(in: .min ... .max), radix: 16)
  private static let noteStart = "callout mark 0x"

  static func note(_ mask: UInt32) -> String {
    "\(noteStart)\(String(mask, radix: 16)) of \(owner)"
  }

  /// The bits of the mark that a helper's note names; nil if it is none, or our own.
  static func foreignMark(in note: String) -> UInt32? {
    let words = note.dropFirst(noteStart.count).split(separator: " ")
    guard note.hasPrefix(noteStart), words.count == 3, words[2] != owner else { return nil }
    return UInt32(words[0], radix: 16)
  }

  /// Which bits of the mark other processes use that divert frames, by the names of their helpers.
  public static func foreignMarks() throws(LinkError) -> [(name: String, mask: UInt32)] {
    try LinkDevice.all().filter { isName($0.name) }.compactMap { device in
      foreignMark(in: device.alias).map { (device.name, $0) }
    }
  }

  /// The names of those that no process holds.
  public static func abandoned() throws(LinkError) -> [String] { try adopt(removing: false) }

  /// Removes those that no process holds, and returns their names.
  public static func removeAbandoned() throws(LinkError) -> [String] { try adopt(removing: true) }

  private static func adopt(removing: Bool) throws(LinkError) -> [String] {
    try LinkDevice.all().map(\.name).filter { name in
      guard isName(name) else { return false }
      let number = unsafe clx_adopt_tap(name, removing)
      guard number >= 0 else { return false }
      _ = close(number)
      return true
    }
  }
}
