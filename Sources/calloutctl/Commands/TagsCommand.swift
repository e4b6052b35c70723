// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl

/// `calloutctl tags`.
struct TagsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tags", abstract: "Lists the tags and their contexts.")

  @OptionGroup var options: ClientOptions

  func run() throws {
    try ControlClient(options: options).show(ControlRequest(.tags), Self.render)
  }

  static func render(_ tags: [TagReport]) -> String {
    var table = TextTable([
      ("NAME", .left), ("TAG", .left), ("ON-COPY", .left), ("ASSOCIATED", .right),
      ("LIVE", .right), ("ENDED", .right),
    ])
    for tag in tags {
      table.add([
        tag.name, tag.tag, tag.onCopy, "\(tag.associated)", "\(tag.live)", "\(tag.ended)",
      ])
    }
    return table.text(ifEmpty: "no tags")
  }
}
