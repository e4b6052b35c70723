// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl

/// `calloutctl queues`.
struct QueuesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "queues", abstract: "Tells what each queue has counted.")

  @OptionGroup var options: ClientOptions

  func run() throws {
    try ControlClient(options: options).show(ControlRequest(.queues), Self.render)
  }

  /// One row a queue; all drops and losses in one column, with `--json` for the details.
  static func render(_ queues: [QueueReport]) -> String {
    var table = TextTable([
      ("QUEUE", .right), ("PACKETS", .right), ("VERDICTS", .right), ("PERMITTED", .right),
      ("BLOCKED", .right), ("PENDED", .right), ("WAITING", .right), ("LIMIT", .right),
      ("LOST", .right), ("ERRORS", .right), ("LIVE", .right),
    ])
    for queue in queues {
      let lost =
        UInt64(queue.queueDropped) + UInt64(queue.userDropped) &+ queue.flushed &+ queue.idGaps
      table.add([
        "\(queue.queue)", "\(queue.packets)", "\(queue.verdicts)", "\(queue.permitted)",
        "\(queue.blocked &+ queue.absorbed)", "\(queue.pendedNow)", "\(queue.waiting)",
        "\(queue.maximumLength)", "\(lost)", "\(queue.verdictErrors)", "\(queue.live)",
      ])
    }
    return table.text(ifEmpty: "no queues")
  }
}
