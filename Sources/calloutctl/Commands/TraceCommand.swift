// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl
internal import Foundation
internal import Kernel

/// `calloutctl trace`.
struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace", abstract: "Shows the whole life of each context once it has ended.",
    discussion: """
      Each line has the milliseconds since the life's first event and since the event before. Of a \
      life that began before the trace, only the rest is shown.
      """)

  @OptionGroup var options: ClientOptions
  @Option(help: ArgumentHelp("Stop after so many lives.", valueName: "number"))
  var count: Int?
  @Option(help: ArgumentHelp("Only lives under this tag.", valueName: "name"))
  var tag: String?

  func validate() throws {
    if let count, count < 0 { throw ValidationError("--count is \(count), expected 0 or more") }
  }

  func run() throws {
    if count == 0 { return }
    var left = count
    var isReading = true
    var lives = LifeGatherer()
    try ControlClient(options: options).ask(ControlRequest(.events, tag: tag)) { line in
      let event = try JSONDecoder().decode(EventLine.self, from: Data(line))
      guard let life = lives.add(event) else { return true }
      isReading = StandardStream.output.write(try rendered(life))
      left = left.map { $0 - 1 }
      return isReading && left != 0
    }
    guard isReading, left != 0 else { return }
    var message = "calloutctl: the daemon has stopped: no more events\n"
    if lives.openCount > 0 { message += "calloutctl: \(lives.openCount) lives had not ended\n" }
    StandardStream.error.write(Array(message.utf8))
    throw ExitCode(69)
  }

  private func rendered(_ life: Life) throws -> [UInt8] {
    guard options.json else { return Array((Timeline.text(life) + "\n\n").utf8) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(LifeReport(life))) + [UInt8(ascii: "\n")]
  }
}
