// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Kernel
internal import PacketViews

/// A queueing discipline under which filters see a device's frames: clsact, or the older ingress.
struct FilterDiscipline: Hashable {
  /// Of the discipline, whatever its kind: `ffff:`.
  static let handle: UInt32 = 0xffff_0000

  var device: UInt32
  /// `TCA_KIND`.
  var kind: String
  /// Its filters are those of other devices, too, and cannot be changed by way of one.
  ///
  /// `TCA_INGRESS_BLOCK`, `TCA_EGRESS_BLOCK`.
  var isShared = false

  var isClsact: Bool { kind == "clsact" }

  /// Those of all devices of this thread's network namespace.
  static func all() throws(LinkError) -> [FilterDiscipline] {
    var found: [FilterDiscipline] = []
    try LinkSocket.dump("ask for queueing disciplines", { clx_request_qdiscs($0) }) { message in
      if case .discipline(let discipline) = message { found.append(discipline) }
    }
    return found
  }
}

/// A filter of what a device receives or sends, anybody's and of any kind.
struct DeviceFilter: Hashable {
  var device: UInt32
  var direction: LinkDirection
  /// Filters of lower numbers are asked first.
  var priority: UInt32
  /// 0 stands for all of a priority.
  var handle: UInt32
  /// What cls_bpf calls it: its program's name and number.
  ///
  /// `TCA_BPF_NAME`.
  var name: String?

  /// The filters of a device, by whichever discipline they hang there.
  static func all(at discipline: FilterDiscipline) throws(LinkError) -> [DeviceFilter] {
    let directions: [LinkDirection] = discipline.isClsact ? [.inbound, .outbound] : [.inbound]
    var found: [DeviceFilter] = []
    for direction in directions {
      try LinkSocket.dump(
        "ask for the filters of a device",
        { clx_request_filters($0, discipline.device, direction == .outbound) }
      ) { message in
        guard case .filter(var filter) = message else { return }
        // One that is shared is told of without its device.
        filter.device = discipline.device
        filter.direction = direction
        found.append(filter)
      }
    }
    return found
  }
}

extension LinkMessage {
  /// `RTM_NEWQDISC`; nil for those under which there are no filters.
  static func discipline(_ body: RawSpan) -> FilterDiscipline? {
    guard body.byteCount >= 20, body.host(8, as: UInt32.self) == FilterDiscipline.handle else {
      return nil
    }
    var discipline = FilterDiscipline(device: body.host(4), kind: "")
    var cursor = 20
    while let (type, value) = attribute(in: body, at: &cursor) {
      let field = body.slice(from: value.lowerBound, length: value.count)
      switch type {
      case 1: discipline.kind = text(field)  // TCA_KIND
      case 13 where field.byteCount >= 4, 14 where field.byteCount >= 4:
        discipline.isShared = discipline.isShared || field.host(0, as: UInt32.self) != 0
      default: break
      }
    }
    return discipline
  }

  /// `RTM_NEWTFILTER`.
  static func filter(_ body: RawSpan) -> DeviceFilter? {
    guard body.byteCount >= 20 else { return nil }
    var filter = DeviceFilter(
      device: body.host(4), direction: .inbound,
      priority: body.host(16, as: UInt32.self) >> 16, handle: body.host(8))
    var cursor = 20
    var kind = ""
    while let (type, value) = attribute(in: body, at: &cursor) {
      let field = body.slice(from: value.lowerBound, length: value.count)
      if type == 1 { kind = text(field) }
      if type == 2, kind == "bpf" { filter.name = name(field) }  // TCA_OPTIONS
    }
    return filter
  }

  private static func name(_ options: RawSpan) -> String? {
    var cursor = 0
    while let (type, value) = attribute(in: options, at: &cursor) {
      if type == 7 { return text(options.slice(from: value.lowerBound, length: value.count)) }
    }
    return nil
  }
}

extension LinkSocket {
  /// Asks for all of a kind and shows each message of the answer.
  static func dump(
    _ what: String, _ request: (CInt) -> CInt, _ take: (LinkMessage) -> Void
  ) throws(LinkError) {
    let socket = try LinkSocket(watching: false)
    guard request(socket.number) == 0 else { throw .system(.current(what)) }
    var buffer = LinkBuffer()
    while true {
      guard buffer.fill(from: socket.number) else { throw .system(.current(what)) }
      while let message = buffer.next() {
        switch message {
        case .done: return
        case .refused(let errno): throw .system(SystemError(what, errno: errno))
        default: take(message)
        }
      }
    }
  }
}
