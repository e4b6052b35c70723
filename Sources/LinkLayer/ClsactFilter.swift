// SPDX-License-Identifier: Apache-2.0

internal import CLibBPF
internal import Glibc
internal import Kernel
internal import Synchronization

/// The place of our filter at a device: clsact and cls_bpf, for kernels without TCX.
///
/// A filter outlives its process, so ours holds a program that only goes through a gate
/// (`DivertGate`). Whoever finds it can tell by its handle whose it was.
struct ClsactFilter: Hashable, Sendable {
  /// How the names of our filters begin.
  private static let mark = DivertProgram.gate.rawValue + ":["
  /// Where nobody has a filter, there is room before ours and behind it.
  private static let usualPriority: UInt32 = 29

  /// One at a time makes disciplines or takes them away.
  private static let turn = Mutex<Void>(())

  let device: UInt32
  let direction: LinkDirection
  let priority: UInt32
  /// The helper's index, which goes with its process, above a bit: the discipline is ours.
  let handle: UInt32

  private init(_ device: UInt32, _ direction: LinkDirection, _ priority: UInt32, _ handle: UInt32) {
    self.device = device
    self.direction = direction
    self.priority = priority
    self.handle = handle
  }

  /// One that was found; nil if it is somebody else's.
  init?(_ found: DeviceFilter) {
    guard found.handle != 0, found.name?.hasPrefix(Self.mark) == true else { return nil }
    self.init(found.device, found.direction, found.priority, found.handle)
  }

  /// The index of the helper that it was made for.
  var helper: UInt32 { handle >> 1 }
  /// Whether the last of us is to take the discipline away.
  private var ownsDiscipline: Bool { handle & 1 == 1 }

  /// Before all that are there, where that can be; nobody's place is taken.
  static func priority(before others: some Sequence<UInt32>) -> UInt32 {
    let taken = Set(others)
    let first = taken.min() ?? .max
    if first > 1 { return min(first - 1, usualPriority) }
    return (2...0xffff).first { !taken.contains($0) } ?? usualPriority
  }

  /// Hangs a program at a device.
  static func add(
    _ program: borrowing OwnedDescriptor, to device: LinkDevice, _ direction: LinkDirection,
    helper: UInt32
  ) throws(DivertError) -> ClsactFilter {
    let number = program.number
    return try turn.withLock { _ in
      Result { () throws(DivertError) in
        try addInTurn(number, to: device, direction, helper)
      }
    }.get()
  }

  private static func addInTurn(
    _ program: CInt, to device: LinkDevice, _ direction: LinkDirection, _ helper: UInt32
  ) throws(DivertError) -> ClsactFilter {
    var failure = SystemError("attach to device \(device.index) by clsact", errno: EBUSY)
    // Somebody may take the place, or the discipline away, that was found.
    for _ in 0..<5 {
      let (owns, isNew) = try ensureDiscipline(of: device, direction)
      let others = try filters(at: device.index).filter { $0.direction == direction }
      let filter = ClsactFilter(
        device.index, direction, priority(before: others.lazy.map(\.priority)),
        helper << 1 | (owns ? 1 : 0))
      var place = filter.place
      if unsafe clb_add_filter(&place, program) == 0 { return filter }
      failure = .current(failure.operation)
      if isNew { _ = clb_remove_clsact(device.index) }
      guard [EEXIST, EINVAL, ENOENT].contains(failure.errno) else { break }
    }
    throw failure.errno == ENODEV
      ? .noDevice(device.index) : .noClsact(device: device.name, failure)
  }

  /// Finds or makes the discipline; whether it is to go with us, and whether it is new.
  private static func ensureDiscipline(
    of device: LinkDevice, _ direction: LinkDirection
  ) throws(DivertError) -> (owns: Bool, isNew: Bool) {
    if clb_make_clsact(device.index) == 0 { return (true, true) }
    let failure = SystemError.current("make a clsact discipline for \(device.name)")
    if failure.errno == ENODEV { throw .noDevice(device.index) }
    guard failure.errno == EEXIST, let found = try discipline(of: device.index) else {
      throw .noClsact(device: device.name, failure)
    }
    if let obstacle = found.obstacle(to: direction, of: device.name) { throw obstacle }
    let ours = try filters(at: device.index).compactMap { ClsactFilter($0) }
    return (ours.contains(where: \.ownsDiscipline), false)
  }

  private static func discipline(of device: UInt32) throws(DivertError) -> FilterDiscipline? {
    do throws(LinkError) {
      return try FilterDiscipline.all().first { $0.device == device }
    } catch {
      throw .noTrafficControl(error)
    }
  }

  private static func filters(at device: UInt32) throws(DivertError) -> [DeviceFilter] {
    guard let discipline = try discipline(of: device) else { return [] }
    do throws(LinkError) {
      return try DeviceFilter.all(at: discipline)
    } catch {
      throw .noTrafficControl(error)
    }
  }

  /// Takes it away, and the discipline if that was ours and is nobody else's by now; whoever runs in
  /// it may still do so.
  func remove() {
    Self.turn.withLock { _ in
      var place = place
      let all = found
      let isAlone = all.contains(where: isThis) && all.allSatisfy { isThis($0) || isHead($0) }
      if ownsDiscipline, isAlone, clb_remove_clsact(device) == 0 { return }
      _ = unsafe clb_remove_filter(&place)
    }
  }

  /// Whether nobody has taken it away.
  var isThere: Bool { found.contains(where: isThis) }

  /// The device's filters, none if they cannot be had.
  private var found: [DeviceFilter] { (try? Self.filters(at: device)) ?? [] }

  private func isThis(_ found: DeviceFilter) -> Bool { ClsactFilter(found) == self }

  /// What stands for all filters of this one's priority.
  private func isHead(_ found: DeviceFilter) -> Bool {
    found.direction == direction && found.priority == priority && found.handle == 0
  }

  private var place: clb_filter {
    clb_filter(
      device: device, outbound: direction == .outbound, priority: priority, handle: handle)
  }
}

extension FilterDiscipline {
  /// Why filters of one direction cannot be hung there.
  func obstacle(to direction: LinkDirection, of device: String) -> DivertError? {
    if isShared { return .sharedBlock(device: device) }
    return isClsact || direction == .inbound ? nil : .ingressDiscipline(device: device)
  }
}

/// Filters of diverts whose processes have ended without taking them away, as by SIGKILL.
///
/// They let all frames pass. There are none where the kernel has TCX, whose links go with the process.
public enum AbandonedFilters {
  /// Removes them, and clsact disciplines that were made for them and that nobody else uses; returns
  /// the devices and directions that they were at.
  public static func remove() throws(LinkError) -> [String] {
    let devices = try LinkDevice.all()
    var removed: [String] = []
    for discipline in try FilterDiscipline.all() {
      for found in try DeviceFilter.all(at: discipline) {
        guard let filter = ClsactFilter(found),
          !devices.contains(where: { $0.index == filter.helper })
        else { continue }
        filter.remove()
        let name = devices.first { $0.index == filter.device }?.name ?? "\(filter.device)"
        removed.append("\(name) \(filter.direction == .inbound ? "inbound" : "outbound")")
      }
    }
    return removed
  }
}
