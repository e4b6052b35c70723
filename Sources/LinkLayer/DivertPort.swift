// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import Kernel
internal import Synchronization

/// Whether what is put back meets the program at the device, which takes the injected bit away.
enum DivertPresence {
  case attached
  /// It may, or may not any more.
  case closing
  case detached
}

/// What one device's divert in one direction holds of the kernel, shared by the thread that reads
/// its frames and those that inject some.
final class DivertPort: Sendable {
  let options: FrameDivertOptions
  /// The device as it was found.
  let device: LinkDevice
  let form: FrameForm
  let state: DivertState
  let helper: TapDevice
  /// Whether messages may carry their priority.
  let takesPriority: Bool
  private let programs: DivertPrograms
  private let helperLink: OwnedDescriptor?
  /// What leads to the program at the device where there is no TCX.
  private let gate: DivertGate?
  /// How the programs hang at devices.
  let attachment: DivertAttachment
  private let present = Mutex(Presence())
  private let isClosing = Atomic<Bool>(false)

  private struct Presence: ~Copyable {
    var hook: DivertHook?
    /// The thread that takes it away.
    var closer: DedicatedThread?
    /// What is put back meets the program at the device, which counts it.
    var isCounting = false
  }

  /// Readies everything but the program at the device.
  init(_ options: FrameDivertOptions) throws(DivertError) {
    self.options = options
    guard options.injectedBit.nonzeroBitCount == 1 else { throw .notOneBit(options.injectedBit) }
    device = try Self.device(options.device)
    form = try Self.form(of: device, options.direction)
    do throws(SystemError) {
      state = try DivertState()
    } catch {
      throw error.errno == EPERM ? .notPermitted : .noMap(error)
    }
    let helper = try TapDevice(for: options.device, options.direction)
    let settings = DivertSettings(options, helper: helper.index, isRawIP: form != .ethernet)
    let programs = try DivertPrograms(settings, state: state)
    try helper.filter(by: programs.landed)
    let link = try DivertHook.linkHelper(programs.inject, helper, by: options.attachment)
    let isLinked = link != nil
    helperLink = link
    try helper.ready(markMask: options.markMask)
    do throws(SystemError) {
      takesPriority = try FrameSocket.takesPriority(askingOf: helper.index)
    } catch {
      throw .noSocket(error)
    }
    // Last: whoever fails before leaves nothing at the device.
    gate =
      isLinked
      ? nil : try DivertGate(settings, state: state, at: device, options.direction)
    attachment = isLinked ? .tcx : .clsact
    self.helper = helper
    self.programs = programs
  }

  private static func device(_ index: UInt32) throws(DivertError) -> LinkDevice {
    do throws(LinkError) {
      if let device = try LinkDevice.find(index: index) { return device }
    } catch {
      switch error {
      case .system(let error): throw .noSocket(error)
      }
    }
    throw .noDevice(index)
  }

  static func form(
    of device: LinkDevice, _ direction: LinkDirection
  ) throws(DivertError) -> FrameForm {
    switch device.medium {
    case .ethernet: .ethernet
    case .rawIP: direction == .inbound ? .rawIPInbound : .rawIPOutbound
    case .loopback: throw .loopback(device.name)
    case .other: throw .unsupportedKind(device: device.name, kind: device.kind)
    }
  }

  /// Attaches the program to the device.
  func attach() throws(DivertError) {
    let result = present.withLock { present -> Result<Void, DivertError> in
      guard present.hook == nil, !present.isCounting else { return .failure(.notDetached) }
      state.settle()
      state.set(.divert)
      do throws(DivertError) {
        present.hook = try makeHook()
        present.isCounting = true
        return .success(())
      } catch {
        return .failure(error)
      }
    }
    try result.get()
  }

  private func makeHook() throws(DivertError) -> DivertHook {
    if let gate {
      try gate.open(to: programs.divert)
      return .gate(gate)
    }
    do throws(SystemError) {
      let link = try DivertHook.link(programs.divert, to: options.device, options.direction)
      // A process that is killed closes its highest descriptors first: then the fewest frames are
      // lost at a helper that has gone.
      return .link(OwnedDescriptor(owning: clx_raise_descriptor(link.release(), 900)))
    } catch {
      throw error.errno == ENODEV ? .noDevice(options.device) : .noTCX(device: device.name, error)
    }
  }

  /// Detaches the program on a thread of its own, since the kernel takes tens of milliseconds for
  /// it; `hasClosed` tells the end.
  func close() {
    isClosing.store(true, ordering: .releasing)
    let thread = try? DedicatedThread(name: "divert-close") { [self] in closeLink() }
    // Without a thread frames wait in the ring meanwhile.
    if thread == nil { closeLink() }
    present.withLock { present in present.closer = thread }
  }

  private func closeLink() {
    let hook = present.withLock { present in present.hook.take() }
    if let hook { hook.detach() }
    isClosing.store(false, ordering: .releasing)
  }

  var hasClosed: Bool { !isClosing.load(ordering: .acquiring) }

  /// Detaches the program at once: what waits is lost, what comes goes on.
  func abandon() {
    state.set(.pass)
    closeLink()
  }

  deinit { abandon() }

  /// Nothing meets the program any more.
  func finish() {
    let closer = present.withLock { present in
      present.isCounting = false
      return present.closer.take()
    }
    closer?.join()
    state.settle()
  }

  /// Sends what did not come from the ring, counted if it will meet the program.
  func inject(_ send: (DivertPresence) -> FrameSendResult) -> FrameSendResult {
    present.withLock { present in
      if present.isCounting { state.add(1, to: .sent) }
      let result = send(
        present.hook != nil ? .attached : present.isCounting ? .closing : .detached)
      // A queue that is full comes behind the program.
      if present.isCounting, result != .sent, result != .noRoom { state.add(.max, to: .sent) }
      return result
    }
  }

  /// Counts what was put back anew after a frame was refused, either before the program at the device
  /// or, by a full queue, behind it; `unsent` more are still to be sent.
  func recount(unsent: Int) {
    guard options.direction == .outbound else {
      // The way through the helper refuses nothing that has come to the device.
      state.add(.max, to: .sent)
      return
    }
    // The reader's own frames have come to the program when a send returns; so have injected ones
    // while nobody injects.
    present.withLock { _ in state.store(state[.returned] &+ UInt64(unsent), in: .sent) }
  }

  func socket(on index: UInt32) throws(DivertError) -> FrameSocket {
    do throws(SystemError) {
      return try FrameSocket(
        device: index, takesPriority: takesPriority, trail: .injection(by: options.injectedBit))
    } catch {
      throw error.errno == EPERM
        ? .notPermitted : error.errno == ENODEV ? .noDevice(index) : .noSocket(error)
    }
  }
}
