// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl
internal import Foundation
internal import Kernel

/// `calloutctl events`.
struct EventsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events",
    abstract: "Shows the life of contexts, and what is blocked, as it happens.")

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
    try ControlClient(options: options).ask(
      ControlRequest(.events, tag: tag, count: count, drops: tag == nil)
    ) {
      // Unbuffered: whoever reads through a pipe wants each event when it happens.
      let line = options.json ? $0 : Array(try Self.render(Data($0)).utf8)
      isReading = StandardStream.output.write(line + [UInt8(ascii: "\n")])
      left = left.map { $0 - 1 }
      return isReading && left != 0
    }
    guard isReading, left != 0 else { return }
    StandardStream.error.write(Array("calloutctl: the daemon has stopped: no more events\n".utf8))
    throw ExitCode(69)
  }

  private struct Kind: Decodable {
    var event: String
  }

  private static func render(_ line: Data) throws -> String {
    let decoder = JSONDecoder()
    if try decoder.decode(Kind.self, from: line).event == DropLine.event {
      return render(try decoder.decode(DropLine.self, from: line))
    }
    return render(try decoder.decode(EventLine.self, from: line))
  }

  private static func text(ofTime time: UInt64) -> String {
    let fraction = "\(time % 1_000_000_000 / 1000)"
    return "\(time / 1_000_000_000).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
  }

  static func render(_ drop: DropLine) -> String {
    var line = "\(text(ofTime: drop.time)) \(drop.event) \(drop.layer) filter \"\(drop.filter)\""
    if let callout = drop.callout { line += " callout \(callout)" }
    if drop.veto { line += " veto" }
    if let ipProtocol = drop.ipProtocol { line += " protocol \(ipProtocol)" }
    if let etherType = drop.etherType, drop.ipProtocol == nil { line += " type \(etherType)" }
    if let source = drop.source, let destination = drop.destination {
      line += " \(end(source, drop.sourcePort)) to \(end(destination, drop.destinationPort))"
    }
    if let device = drop.input { line += " in by \(device)" }
    if let device = drop.output { line += " out by \(device)" }
    if let lost = drop.lost { line += " (\(lost) before it not told)" }
    return line
  }

  private static func end(_ address: String, _ port: UInt16?) -> String {
    guard let port else { return address }
    return address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
  }

  static func render(_ event: EventLine) -> String {
    var line = "\(text(ofTime: event.time)) \(event.event)"
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
