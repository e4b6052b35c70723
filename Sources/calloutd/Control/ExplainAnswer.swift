// SPDX-License-Identifier: Apache-2.0

internal import CalloutControl
internal import CalloutEngine
internal import Foundation
internal import LinkLayer
internal import PacketTagging
internal import PacketViews

/// Explains what the policy in force makes of a packet that nobody sends.
struct ExplainAnswer {
  let policy: CompiledPolicy

  /// One report for each layer that has filters and can have such a packet, in the order of its way.
  func lines(for request: ExplainRequest) throws(ControlFailure) -> [ExplainReport] {
    let bytes = try bytes(of: request)
    let layers = try layers(request)
    let input = try device(request.input)
    let output = try device(request.output)
    var reports =
      request.form == "ethernet"
      ? try frame(bytes, layers, request, input, output)
      : try packet(bytes, layers, request, input, output)
    for index in reports.indices { reports[index].packet = request.number }
    return reports
  }

  private func packet(
    _ bytes: [UInt8], _ layers: [Layer], _ request: ExplainRequest, _ input: UInt32,
    _ output: UInt32
  ) throws(ControlFailure) -> [ExplainReport] {
    let span = bytes.span.packetBytes
    let layout: PacketLayout
    do { layout = try PacketLayout(parsing: span) } catch {
      throw ControlFailure(.wrongFrame, "the packet cannot be read: \(error)")
    }
    var metadata = PacketMetadata()
    metadata.inputDevice = input
    metadata.outputDevice = output
    metadata.originalLength = UInt32(bytes.count)
    metadata.userID = request.userID
    metadata.groupID = request.groupID
    metadata.program = request.program.map { policy.blobs.place(of: Array($0.utf8)) }
    var reports: [ExplainReport] = []
    for hook in Hook.all(input: input, output: output) {
      for layer in Layer.met(at: hook, by: layout) where layers.contains(layer) {
        let packet = ClassifiedPacket(
          bytes: span, layout: layout, layer: layer, metadata: metadata, hook: hook)
        reports.append(report(policy.explain(packet), layer, hook))
      }
    }
    return reports
  }

  /// A frame at the layers of frames, and the packet in it at those of packets.
  private func frame(
    _ bytes: [UInt8], _ layers: [Layer], _ request: ExplainRequest, _ input: UInt32,
    _ output: UInt32
  ) throws(ControlFailure) -> [ExplainReport] {
    let span = bytes.span.packetBytes
    let layout = FrameLayout(parsing: span)
    var metadata = FrameMetadata()
    metadata.interfaceIndex = max(input, output)
    metadata.originalLength = UInt32(bytes.count)
    var reports: [ExplainReport] = []
    for layer in layers where layer.indicatesFrames {
      let frame = ClassifiedFrame(bytes: span, layout: layout, layer: layer, metadata: metadata)
      reports.append(report(policy.explain(frame), layer))
    }
    guard layout.etherType == .ipv4 || layout.etherType == .ipv6, layout.isWellFormed else {
      return reports
    }
    let inner = Array(bytes.dropFirst(layout.networkOffset))
    return reports + (try packet(inner, layers, request, input, output))
  }

  private func report(
    _ explanation: Explanation, _ layer: Layer, _ hook: Hook? = nil
  ) -> ExplainReport {
    let filters = policy.policy.filters
    return ExplainReport(
      layer: layer.name, hook: hook.map { "\($0)" },
      verdict: explanation.isPermitted.map { $0 ? "permit" : "block" } ?? "callouts",
      decidedBy: explanation.filter.map { filters[$0].name },
      steps: explanation.steps.map { step in
        let filter = filters[step.filter]
        return ExplainReport.Step(
          filter: filter.name, sublayer: filter.sublayer, weight: filter.effectiveWeight,
          action: filter.action.name, callout: filter.action.callout,
          outcomes: Dictionary(
            uniqueKeysWithValues: step.outcomes.map {
              ($0.answer.rawValue, $0.isPermitted ? "permit" : "block")
            }), reason: Self.reason(filter, step, layer))
      })
  }

  private static func reason(
    _ filter: Filter, _ step: Explanation.Step, _ layer: Layer
  ) -> String {
    switch filter.action {
    case .calloutInspection:
      return layer.isDiscard ? "is shown the packet if it is dropped" : "is shown the packet"
    case .calloutTerminating, .calloutUnknown:
      return step.wasFinal
        ? "would be asked, but only its block of a hard permit would count" : "would be asked"
    case .permit, .block:
      if step.wasFinal { return "does not count: a higher sublayer has the last word" }
      if filter.action == .block { return "blocks for good" }
      return filter.flags.contains(.clearActionRight)
        ? "permits; only a callout may still block" : "permits, unless a lower sublayer blocks"
    }
  }

  private func layers(_ request: ExplainRequest) throws(ControlFailure) -> [Layer] {
    guard let name = request.layer else {
      return Layer.allCases.filter { policy.hasFilters(at: $0) }
    }
    guard let layer = Layer(name: name) else {
      throw ControlFailure(.malformedRequest, "there is no layer \"\(name)\"")
    }
    return [layer]
  }

  private func device(_ name: String?) throws(ControlFailure) -> UInt32 {
    guard let name else { return 0 }
    let device: LinkDevice?
    do { device = try LinkDevice.find(name: name) } catch {
      throw ControlFailure(.failed, "\(error)")
    }
    guard let device else {
      throw ControlFailure(.noInterface, "there is no interface \(name); ip link lists them")
    }
    return UInt32(device.index)
  }

  private func bytes(of request: ExplainRequest) throws(ControlFailure) -> [UInt8] {
    if let text = request.packet {
      guard let data = Data(base64Encoded: text), !data.isEmpty else {
        throw ControlFailure(.wrongFrame, "the packet is no base64")
      }
      return Array(data)
    }
    guard let from = request.from.flatMap({ IPAddress($0) }),
      let to = request.to.flatMap({ IPAddress($0) }), from.version == to.version
    else {
      throw ControlFailure(
        .malformedRequest, "expected a packet, or two addresses of one family in from and to")
    }
    let name = request.ipProtocol ?? "tcp"
    guard let number = Field.ipProtocol.value(name) else {
      throw ControlFailure(.malformedRequest, "there is no protocol \"\(name)\"")
    }
    return Self.packet(
      UInt8(truncatingIfNeeded: number), from, to, request.sourcePort ?? 0,
      request.destinationPort ?? 0)
  }

  /// The shortest packet of these values; its checksums are 0, as no filter looks at them.
  private static func packet(
    _ number: UInt8, _ from: IPAddress, _ to: IPAddress, _ source: UInt16, _ destination: UInt16
  ) -> [UInt8] {
    func big(_ value: UInt64, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
    }
    let ports = big(UInt64(source), 2) + big(UInt64(destination), 2)
    let transport: [UInt8]
    switch number {
    case 6: transport = ports + [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0]
    case 17, 136: transport = ports + [0, 8, 0, 0]
    case 1, 58:
      transport = [
        UInt8(truncatingIfNeeded: source), UInt8(truncatingIfNeeded: destination), 0, 0, 0, 0, 0, 0,
      ]
    default: transport = ports + [0, 0, 0, 0, 0, 0, 0, 0]
    }
    if from.version == .v4 {
      let length = big(UInt64(20 + transport.count), 2)
      return [0x45, 0] + length + [0, 0, 0, 0, 64, number, 0, 0] + big(from.low, 4)
        + big(to.low, 4) + transport
    }
    return [0x60, 0, 0, 0] + big(UInt64(transport.count), 2) + [number, 64] + big(from.high, 8)
      + big(from.low, 8) + big(to.high, 8) + big(to.low, 8) + transport
  }
}

extension Hook {
  /// The hooks that a packet with these devices can meet, in the order of its way; 0 for any device.
  fileprivate static func all(input: UInt32, output: UInt32) -> [Hook] {
    switch (input != 0, output != 0) {
    case (false, false): allCases
    case (true, false): [.prerouting, .input, .forward]
    case (false, true): [.forward, .output, .postrouting]
    case (true, true): [.prerouting, .forward, .postrouting]
    }
  }
}

extension Layer {
  /// The layers that such a packet, the first of its flow, meets at a hook, each with the one that
  /// shows what is dropped there.
  fileprivate static func met(at hook: Hook, by layout: PacketLayout) -> [Layer] {
    // An ICMP error is of the flow that it is about, which it does not ask for.
    let traits = PacketTraits(layout).union(layout.isICMPError ? [] : .firstOfFlow)
    return LayerStep.all(at: hook, isIPv6: layout.version == .v6)
      .filter { $0.isMet(by: traits) }
      .flatMap { [$0.layer, $0.layer.discard].compactMap(\.self) }
  }
}
