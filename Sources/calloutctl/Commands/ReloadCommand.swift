// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl

/// `calloutctl reload`.
struct ReloadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reload",
    abstract: "Has the daemon read its policy file again; on errors the running policy stays.")

  @OptionGroup var options: ClientOptions

  func run() throws {
    try ControlClient(options: options).show(ControlRequest(.reload)) {
      (reports: [ReloadReport]) in reports.map(Self.render).joined()
    }
  }

  static func render(_ report: ReloadReport) -> String {
    let head = "policy replaced: \(report.filters) filters, \(report.callouts) callouts\n"
    return head + report.notes.map { "note: \($0)\n" }.joined()
  }
}
