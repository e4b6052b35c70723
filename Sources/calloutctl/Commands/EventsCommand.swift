// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl
internal import Foundation
internal import Kernel

/// `calloutctl events`.
struct EventsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "Shows the life of contexts as it happens.")

  @OptionGroup var options: ClientOptions
  @Option(help: ArgumentHelp("Stop after so many events.", valueName: "number"))
  var count: Int?
  @Option(help: ArgumentHelp("Only events of this tag.", valueName: "name"))
  var tag: String?

  func validate() throws {
    if let count, count < 0 { throw ValidationError("--count is \(count), expected 0 or more") }
  }

  func run() throws {
    var left = count
    var isReading = true
    try ControlClient(options: options).ask(ControlRequest(.events, tag: tag, count: count)) {
      // Unbuffered: whoever reads through a pipe wants each event when it happens.
      let line =
        options.json
        ? $0 : Array(Self.render(try JSONDecoder().decode(EventLine.self, from: Data($0))).utf8)
      isReading = StandardStream.output.write(line + [UInt8(ascii: "\n")])
      left = left.map { $0 - 1 }
      return isReading && left != 0
    }
    guard isReading, left != 0 else { return }
    StandardStream.error.write(Array("calloutctl: the daemon has stopped: no more events\n".utf8))
    throw ExitCode(69)
  }

  static func render(_ event: EventLine) -> String {
    let seconds = event.time / 1_000_000_000
    let fraction = "\(event.time % 1_000_000_000 / 1000)"
    let time = "\(seconds).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
    var line = "\(time) \(event.event)"
    if let reason = event.reason { line += " \(reason)" }
    line += " \(event.tagName ?? event.tag)=\(event.context) handle \(event.handle)"
    if let other = event.otherHandle { line += " other \(other)" }
    if event.packetID != 0 { line += " packet \(event.packetID)" }
    if let device = event.device { line += " on \(device)" }
    if let reason = event.dropReason { line += " \(reason)" }
    if let place = event.place { line += " in \(place)" }
    if event.isRead == true { line += " read" }
    return line + " queue \(event.queue) \(event.layer) \(event.certainty)"
  }
}
