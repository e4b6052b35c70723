// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutControl
internal import CalloutEngine
internal import CaptureFiles
internal import Foundation
internal import LinkLayer
internal import PacketTagging
internal import Synchronization

/// Injects the frames of a request, and tells how that ended for each.
struct InjectionAnswer {
  let bridge: Bridge
  /// The layers with filters that ask callouts.
  let layers: Set<Layer>

  /// All frames are checked before the first is injected.
  func lines(for request: InjectionRequest) async throws(ControlFailure) -> [InjectionLine] {
    let device = try find(request.interface)
    var chain = InjectableChain()
    for (number, frame) in try decode(request).enumerated() {
      if let problem = frame.problem(at: device) {
        throw ControlFailure(problem.code, problem.message, frame: number)
      }
      chain.append(.invented(frame.bytes))
    }
    let handle: InjectionHandle
    do { handle = try bridge.makeInjectionHandle(kinds: .l2) } catch {
      throw ControlFailure(.failed, "\(error)")
    }
    let ended = Segments()
    let layer = layer(request.direction, device)
    let outcome =
      switch request.direction {
      case .send:
        bridge.injectMACSend(
          chain: chain, with: handle, at: layer, interface: device.index, completion: ended.note)
      case .receive:
        bridge.injectMACReceive(
          chain: chain, with: handle, at: layer, interface: device.index, completion: ended.note)
      }
    switch consume outcome {
    case .started: await handle.destroy()
    case .refused(let error, _): throw failure(error, layer, device.name)
    }
    return ended.lines
  }

  private func find(_ name: String) throws(ControlFailure) -> LinkDevice {
    let device: LinkDevice?
    do { device = try LinkDevice.find(name: name) } catch {
      throw ControlFailure(.failed, "\(error)")
    }
    guard let device else {
      throw ControlFailure(.noInterface, "there is no interface \(name); ip link lists them")
    }
    return device
  }

  private func decode(_ request: InjectionRequest) throws(ControlFailure) -> [CapturedFrame] {
    guard (1...InjectionRequest.maximumFrames).contains(request.frames.count) else {
      throw ControlFailure(
        .malformedRequest,
        "found \(request.frames.count) frames, expected 1 to \(InjectionRequest.maximumFrames)")
    }
    let form = request.form.map { CapturedFrame.Form(rawValue: $0) }
    guard let form = form ?? .some(nil) else {
      throw ControlFailure(.malformedRequest, "the form is neither ethernet nor ip")
    }
    var frames: [CapturedFrame] = []
    for (number, text) in request.frames.enumerated() {
      guard let bytes = Data(base64Encoded: text) else {
        throw ControlFailure(
          .malformedRequest, "the frame is not written in base64", frame: number)
      }
      frames.append(CapturedFrame(Array(bytes), form: form))
    }
    return frames
  }

  /// The layer behind which frames come out, with a callout if there is one.
  private func layer(_ direction: InjectionRequest.Direction, _ device: LinkDevice) -> Layer {
    let (ethernet, native): (Layer, Layer) =
      switch direction {
      case .send: (.outboundMACFrameEthernet, .outboundMACFrameNative)
      case .receive: (.inboundMACFrameEthernet, .inboundMACFrameNative)
      }
    let isNative = device.medium == .rawIP || !layers.contains(ethernet)
    return isNative && layers.contains(native) ? native : ethernet
  }

  private func failure(_ error: InjectionError, _ layer: Layer, _ name: String) -> ControlFailure {
    switch error {
    case .noCallout:
      ControlFailure(
        .noCallout,
        "no filter at \(layer.name) asks a callout, without which nothing is injected there; add "
          + "one to the policy, such as { layer: \(layer.name), action: callout-inspection, "
          + "callout: NAME } with a callout of type inspect")
    case .noInterface:
      ControlFailure(
        .notDiverted,
        "\(name) is not among the interfaces whose frames calloutd sees; add it to interfaces in the "
          + "policy")
    case .interfaceDown:
      ControlFailure(.interfaceDown, "\(name) is down; ip link set \(name) up")
    case .closed: ControlFailure(.notRunning, "the daemon is stopping; try again later")
    default: ControlFailure(.failed, "\(error)")
    }
  }
}

/// How the frames of one injection ended.
private final class Segments: Sendable {
  private let list = Mutex<[InjectionSegment]>([])

  var note: InjectionCompletion { { segment in self.list.withLock { $0.append(segment) } } }

  var lines: [InjectionLine] {
    list.withLock { list in
      list.map { segment in
        let digits = String(UInt32(bitPattern: segment.status.rawValue), radix: 16)
        return InjectionLine(
          first: segment.first, count: segment.count, injected: segment.status.isSuccess,
          status: "\(segment.status)",
          code: "0x" + String(repeating: "0", count: 8 - digits.count) + digits)
      }
    }
  }
}
