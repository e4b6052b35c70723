// SPDX-License-Identifier: Apache-2.0

internal import CLibBPF
internal import Kernel

/// The programs of `divert.bpf.c`, under their functions' names.
public enum DivertProgram: String, Sendable, CaseIterable {
  /// At the device: sends frames to the helper and lets ours through.
  case divert
  /// Where the helper sends: to the device what we put back, nothing else.
  case inject
  /// At the device where there is no TCX: leads to `divert` while its process lives.
  case gate = "callout_gate"
  /// At the helper's queue: counts what came, and lets nothing in.
  case landed
}

/// What the programs need to know; same layout as `struct settings` in `divert.h`.
struct DivertSettings: BitwiseCopyable {
  var bit: UInt32
  var helper: UInt32
  var device: UInt32
  var injectFlags: UInt32
  var isRawIP: UInt32
  var limit: UInt32
  var refusal: UInt32
  var divertedIndex: UInt32
  var injectedIndex: UInt32

  init(
    _ options: FrameDivertOptions, helper: UInt32, isRawIP: Bool
  ) {
    bit = options.injectedBit
    self.helper = helper
    device = options.device
    injectFlags = options.direction == .inbound ? 1 : 0  // BPF_F_INGRESS
    self.isRawIP = isRawIP ? 1 : 0
    limit = UInt32(clamping: options.limit)
    refusal = options.failurePolicy == .permit ? .max /* TCX_NEXT */ : 2  // TCX_DROP
    // The helper's index tells those of several programs apart.
    divertedIndex = 0x4000 | helper & 0x3fff
    injectedIndex = 0xc000 | helper & 0x3fff
  }
}

/// The 64-bit cells of `struct state` in `divert.h`.
enum DivertCell: Int {
  case diverted = 0
  case returned = 1
  case passed = 2
  case unwrapped = 3
  case overloaded = 4
  case landed = 8
  case handled = 16
  case sent = 17
  case mode = 18

  /// How many cells there are, with those between them.
  static let count = 24
}

/// What the program at the device does with frames; `MODE_…` in `divert.h`.
enum DivertMode: UInt64 {
  case divert = 0
  /// Passes as soon as nothing is under way.
  case drain = 1
  case pass = 2
}

/// The counters and the mode that we share with the programs.
final class DivertState: Sendable {
  private let cells: SharedCells
  let descriptor: OwnedDescriptor

  init() throws(SystemError) {
    let bytes = UInt32(DivertCell.count * MemoryLayout<UInt64>.stride)
    descriptor = try OwnedDescriptor(
      checking: unsafe clb_make_array("callout_divert", bytes, 1), operation: "make a BPF map")
    cells = try SharedCells(mapping: descriptor, count: DivertCell.count)
  }

  subscript(cell: DivertCell) -> UInt64 { cells.load(cell.rawValue) }
  func store(_ value: UInt64, in cell: DivertCell) { cells.store(value, at: cell.rawValue) }
  func add(_ value: UInt64, to cell: DivertCell) { cells.add(value, to: cell.rawValue) }
  func set(_ mode: DivertMode) { store(mode.rawValue, in: .mode) }

  /// Whether nothing is on its way to the reader or back from it; the program in drain mode asks the
  /// same.
  var isIdle: Bool { self[.landed] == self[.handled] && self[.sent] == self[.returned] }

  /// Takes what the programs have counted for ours, where nothing is under way.
  func settle() {
    store(self[.returned], in: .sent)
    store(self[.landed], in: .handled)
  }
}

/// The loaded programs of one device and direction.
struct DivertPrograms: ~Copyable, Sendable {
  let divert: OwnedDescriptor
  let inject: OwnedDescriptor
  let landed: OwnedDescriptor

  init(_ settings: DivertSettings, state: DivertState) throws(DivertError) {
    let landed = try Self.load(.landed, settings, state)
    let inject = try Self.load(.inject, settings, state)
    divert = try Self.load(.divert, settings, state)
    self.inject = inject
    self.landed = landed
  }

  /// Loads one program, with a gate if it goes through one.
  static func load(
    _ program: DivertProgram, _ settings: DivertSettings, _ state: DivertState, gate: CInt? = nil
  ) throws(DivertError) -> OwnedDescriptor {
    let object = PackageResources.divert_bpf_o
    let map = state.descriptor.number
    var descriptor: CInt = -1
    let result = unsafe withUnsafeBytes(of: settings) { settings in
      unsafe object.withUnsafeBytes { object in
        unsafe program.rawValue.withCString { name in
          unsafe (gate == nil ? "state" : "state gate").withCString { maps in
            unsafe withUnsafeMutablePointer(to: &descriptor) { descriptor in
              var request = unsafe clb_request(
                object: object.baseAddress, object_size: object.count, programs: name,
                descriptors: descriptor, maps: maps, map_descriptors: (map, gate ?? -1),
                settings: settings.baseAddress, settings_size: settings.count)
              return unsafe clb_load(&request)
            }
          }
        }
      }
    }
    guard result == 0 else {
      throw .programRefused(program, .current("load the program \(program.rawValue)"))
    }
    return OwnedDescriptor(owning: descriptor)
  }
}
