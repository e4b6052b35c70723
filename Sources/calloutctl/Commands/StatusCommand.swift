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
    ]
    lines += troubles.filter { $0.1 > 0 }.map { ($0.0, "\($0.1)") }
    lines += status.warnings.map { ("warning", $0) }
    return lines.map { name, value in
      name + String(repeating: " ", count: max(1, 18 - name.count)) + value + "\n"
    }.joined()
  }
}
