// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl

/// `calloutctl status`.
struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Tells how the daemon is.")

  @OptionGroup var options: ClientOptions

  func run() throws {
    try ControlClient(options: options).show(ControlRequest(.status)) {
      (reports: [StatusReport]) in reports.map(Self.render).joined()
    }
  }

  /// A line for each fact; what is zero and would only matter otherwise is left out.
  static func render(_ status: StatusReport) -> String {
    var lines: [(String, String)] = [
      ("state", status.healthy ? status.state.rawValue : "\(status.state.rawValue), not healthy"),
      ("version", status.version),
      (
        "policy",
        "\(status.policy.file) (\(status.policy.filters) filters, "
          + "\(status.policy.callouts) callouts, \(status.policy.reloads) reloads)"
      ),
      ("rules", status.backend),
      ("life cycle", status.source == "kernel" ? "told by the kernel" : "told by verdicts alone"),
      ("mark mask", status.markMask ?? "off"),
      ("packets", "\(status.packets)"),
      ("verdicts", "\(status.verdicts)"),
      (
        "contexts",
        "\(status.associated) associated = \(status.live) live + \(status.ended) ended"
      ),
    ]
    for (reason, count) in status.endedByReason.sorted(by: { $0.key < $1.key }) {
      lines.append(("  \(reason)", "\(count)"))
    }
    let troubles = [
      ("handles refused", status.handlesRefused), ("stale handles", status.staleHandles),
      ("foreign flows", status.foreignFlows), ("copies", status.copies),
      ("events lost", status.eventsLost), ("notify failures", status.notifyFailures),
      ("vetoes", status.vetoes),
    ]
    lines += troubles.filter { $0.1 > 0 }.map { ($0.0, "\($0.1)") }
    lines += frames(status)
    lines += status.warnings.map { ("warning", $0) }
    return lines.map { name, value in
      name + String(repeating: " ", count: max(1, 18 - name.count)) + value + "\n"
    }.joined() + ports(status.ports)
  }

  /// Frames in all; nothing where none were ever diverted.
  private static func frames(_ status: StatusReport) -> [(String, String)] {
    let frames = status.frames
    guard frames.frames > 0 || !status.ports.isEmpty else { return [] }
    let details: [(String, UInt64)] = [
      ("absorbed", frames.absorbed), ("held", frames.held), ("rewritten", frames.rewritten),
      ("handed over", frames.handedOver), ("lost", frames.lost), ("injected", frames.injected),
      ("not injected", frames.injectionsFailed &+ frames.tooManyHops),
    ]
    var text = "\(frames.frames) met, \(frames.permitted) permitted, \(frames.blocked) blocked"
    for (name, count) in details where count > 0 { text += ", \(count) \(name)" }
    if frames.heldNow > 0 { text += ", \(frames.heldNow) held now" }
    return [("frames", text)]
  }

  /// A row for each device and direction, and what was lost of it by kind.
  private static func ports(_ ports: [PortReport]) -> String {
    guard !ports.isEmpty else { return "" }
    var table = TextTable([
      ("INTERFACE", .left), ("DIRECTION", .left), ("STATE", .left), ("DIVERTED", .right),
      ("PERMITTED", .right), ("DROPPED", .right), ("LOST", .right), ("OVERLOAD", .right),
      ("FORCED", .right), ("LOST BY KIND", .left),
    ])
    for port in ports {
      let kinds = port.lost.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
      table.add([
        port.interface, port.direction, port.diverting ? "diverted" : "detached",
        "\(port.diverted)",
        "\(port.permitted)", "\(port.dropped)", "\(port.lostInAll)",
        "\(port.overloaded &+ port.noMemory)", "\(port.forcedRemovals)",
        kinds.joined(separator: ", "),
      ])
    }
    return "\n" + table.text(ifEmpty: "")
  }
}
