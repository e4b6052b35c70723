// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl

/// `calloutctl callouts`.
struct CalloutsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "callouts", abstract: "Lists the callouts and what they have seen.")

  @OptionGroup var options: ClientOptions

  func run() throws {
    try ControlClient(options: options).show(ControlRequest(.callouts), Self.render)
  }

  static func render(_ callouts: [CalloutReport]) -> String {
    var table = TextTable([
      ("NAME", .left), ("TYPE", .left), ("FILTERS", .right), ("PACKETS", .right),
      ("BYTES", .right), ("REFUSED", .right),
    ])
    for callout in callouts {
      table.add([
        callout.name, callout.type, "\(callout.filters)", "\(callout.packets)",
        "\(callout.bytes)", "\(callout.refused)",
      ])
    }
    return table.text(ifEmpty: "no callouts")
  }
}
