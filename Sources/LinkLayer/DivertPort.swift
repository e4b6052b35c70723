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
  private let injectLink: OwnedDescriptor
  private let attachment = Mutex(Attachment())
  private let isClosing = Atomic<Bool>(false)

  private struct Attachment: ~Copyable {
    var link: OwnedDescriptor?
    /// The thread that closes it.
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
    let programs = try DivertPrograms(
      DivertSettings(options, helper: helper.index, isRawIP: form != .ethernet), state: state)
    try helper.filter(by: programs.landed)
    do throws(SystemError) {
      injectLink = try DivertPrograms.attach(programs.inject, to: helper.index, .outbound)
    } catch {
      throw .noTCX(device: helper.name, error)
    }
    try helper.ready()
    do throws(SystemError) {
      takesPriority = try FrameSocket.takesPriority(askingOf: helper.index)
    } catch {
      throw .noSocket(error)
    }
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
    let result = attachment.withLock { attachment -> Result<Void, DivertError> in
      guard attachment.link == nil, !attachment.isCounting else { return .failure(.notDetached) }
      state.settle()
      state.set(.divert)
      do throws(SystemError) {
        let link = try DivertPrograms.attach(
          programs.divert, to: options.device, options.direction)
        // A process that is killed closes its highest descriptors first: then the fewest frames are
        // lost at a helper that has gone.
        attachment.link = OwnedDescriptor(owning: clx_raise_descriptor(link.release(), 900))
        attachment.isCounting = true
        return .success(())
      } catch {
        return .failure(
          error.errno == ENODEV
            ? .noDevice(options.device) : .noTCX(device: device.name, error))
      }
    }
    try result.get()
  }

  /// Detaches the program on a thread of its own, since the kernel takes tens of milliseconds for
  /// it; `hasClosed` tells the end.
  func close() {
    isClosing.store(true, ordering: .releasing)
    let thread = try? DedicatedThread(name: "divert-close") { [self] in closeLink() }
    // Without a thread frames wait in the ring meanwhile.
    if thread == nil { closeLink() }
    attachment.withLock { attachment in attachment.closer = thread }
  }

  private func closeLink() {
    let link = attachment.withLock { attachment in attachment.link.take() }
    _ = consume link
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
    let closer = attachment.withLock { attachment in
      attachment.isCounting = false
      return attachment.closer.take()
    }
    closer?.join()
    state.settle()
  }

  /// Sends what did not come from the ring, counted if it will meet the program.
  func inject(_ send: (DivertPresence) -> FrameSendResult) -> FrameSendResult {
    attachment.withLock { attachment in
      if attachment.isCounting { state.add(1, to: .sent) }
      let result = send(
        attachment.link != nil ? .attached : attachment.isCounting ? .closing : .detached)
      // A queue that is full comes behind the program.
      if attachment.isCounting, result != .sent, result != .noRoom { state.add(.max, to: .sent) }
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
    attachment.withLock { _ in state.store(state[.returned] &+ UInt64(unsent), in: .sent) }
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
