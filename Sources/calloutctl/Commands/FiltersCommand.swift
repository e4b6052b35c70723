// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl

/// `calloutctl filters`.
struct FiltersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "filters", abstract: "Lists the filters in force and how often each matched.")

  @OptionGroup var options: ClientOptions

  func run() throws {
    try ControlClient(options: options).show(ControlRequest(.filters), Self.render)
  }

  static func render(_ filters: [FilterReport]) -> String {
    var table = TextTable([
      ("NAME", .left), ("LAYER", .left), ("SUBLAYER", .left), ("WEIGHT", .right),
      ("ACTION", .left), ("HITS", .right), ("IN KERNEL", .right), ("CONDITIONS", .left),
    ])
    for filter in filters {
      let action = ([filter.action, filter.callout].compactMap(\.self) + filter.flags)
        .joined(separator: " ")
      table.add([
        filter.name, filter.layer, filter.sublayer, "\(filter.weight)", action,
        "\(filter.hits)", "\(filter.kernelHits)", filter.conditions.joined(separator: ", "),
      ])
    }
    return table.text(ifEmpty: "no filters")
  }
}
