// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl
internal import CaptureFiles
internal import Foundation

/// `calloutctl explain`.
struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Tells what the filters in force make of a packet, and why.",
    discussion: """
      No packet is sent and no callout is asked: for each that would be, it says what comes of each \
      of its answers.

        calloutctl explain --protocol udp --from 10.0.0.1:4000 --to 10.0.0.2:53
        calloutctl explain --protocol tcp --from [2001:db8::1]:4000 --to [2001:db8::2]:443
        calloutctl explain --pcap capture.pcap --layer inbound-transport-v4 --in eth0
      """)

  @OptionGroup var options: ClientOptions
  @Option(
    name: .customLong("protocol"),
    help: ArgumentHelp("A protocol's name or number.", valueName: "name"))
  var ipProtocol = "tcp"
  @Option(help: ArgumentHelp("The sender's address and port or ICMP type.", valueName: "address"))
  var from: String?
  @Option(help: ArgumentHelp("The receiver's address and port or ICMP code.", valueName: "address"))
  var to: String?
  @Option(
    help: ArgumentHelp("A packet from its IP header on, in hexadecimal.", valueName: "digits"))
  var hex: String?
  @Option(help: ArgumentHelp("Each packet of a pcap or pcapng file.", valueName: "file"))
  var pcap: String?
  @Option(help: ArgumentHelp("At this layer only.", valueName: "name")) var layer: String?
  @Option(name: .customLong("in"), help: ArgumentHelp("It came by this device.", valueName: "name"))
  var input: String?
  @Option(
    name: .customLong("out"), help: ArgumentHelp("It leaves by this device.", valueName: "name"))
  var output: String?
  @Option(name: .customLong("uid"), help: ArgumentHelp("Who sends it.", valueName: "number"))
  var userID: UInt32?
  @Option(
    name: .customLong("gid"), help: ArgumentHelp("Whose group sends it.", valueName: "number"))
  var groupID: UInt32?
  @Option(
    name: .customLong("app-id"),
    help: ArgumentHelp("The program that has the socket; none is known else.", valueName: "path"))
  var program: String?

  func validate() throws {
    let sources = [hex != nil, pcap != nil, from != nil || to != nil].filter { $0 }.count
    guard sources == 1 else {
      throw ValidationError("expected one of --from with --to, --hex and --pcap")
    }
    if hex == nil, pcap == nil { _ = try tuple() }
    if let hex { _ = try Self.bytes(hex) }
  }

  func run() throws {
    let client = ControlClient(options: options)
    if let pcap {
      let source = try FrameSource(.file(pcap))
      var number = 0
      while let frame = try source.next() {
        number += 1
        if !options.json { print("packet \(number)") }
        try ask(client, of: frame, number)
      }
    } else if let hex {
      try ask(client, of: CapturedFrame(try Self.bytes(hex), form: .ip))
    } else {
      try client.show(ControlRequest(.explain, explain: try tuple()), Self.render)
    }
  }

  private func ask(
    _ client: ControlClient, of frame: CapturedFrame, _ number: Int? = nil
  ) throws {
    var request = request()
    request.number = number
    request.packet = Data(frame.bytes).base64EncodedString()
    request.form = (frame.form ?? .ip).rawValue
    try client.show(ControlRequest(.explain, explain: request), Self.render)
  }

  private func request() -> ExplainRequest {
    var request = ExplainRequest()
    request.layer = layer
    request.input = input
    request.output = output
    request.userID = userID
    request.groupID = groupID
    request.program = program
    return request
  }

  private func tuple() throws -> ExplainRequest {
    guard let from, let to else { throw ValidationError("expected --from and --to, both") }
    var request = request()
    request.ipProtocol = ipProtocol
    (request.from, request.sourcePort) = try Self.endpoint(from)
    (request.to, request.destinationPort) = try Self.endpoint(to)
    return request
  }

  private static func bytes(_ text: String) throws -> [UInt8] {
    do { return try FrameText.bytes(text) } catch { throw ValidationError("--hex: \(error)") }
  }

  /// 10.0.0.1:53, 10.0.0.1, [fe80::1]:53 or fe80::1.
  static func endpoint(_ text: String) throws -> (address: String, port: UInt16?) {
    var (address, port) = (Substring(text), Substring?.none)
    if text.hasPrefix("["), let end = text.lastIndex(of: "]") {
      address = text[text.index(after: text.startIndex)..<end]
      let rest = text[text.index(after: end)...]
      if !rest.isEmpty { port = rest.dropFirst() }
    } else if text.filter({ $0 == ":" }).count == 1, let colon = text.firstIndex(of: ":") {
      (address, port) = (text[..<colon], text[text.index(after: colon)...])
    }
    guard let port else { return (String(address), nil) }
    guard let number = UInt16(port) else {
      throw ValidationError("found \"\(text)\", expected an address and a port up to 65535")
    }
    return (String(address), number)
  }

  static func render(_ reports: [ExplainReport]) -> String {
    guard !reports.isEmpty else { return "no layer with filters has such a packet\n" }
    return reports.map(render).joined(separator: "\n")
  }

  private static func render(_ report: ExplainReport) -> String {
    var verdict = report.verdict == "callouts" ? "up to callouts" : report.verdict
    if report.verdict == "callouts" {
      let plain = report.decidedBy.map { ", else \"\($0)\" decides" }
      verdict += plain ?? ""
    } else if let filter = report.decidedBy {
      verdict += " by \"\(filter)\""
    } else {
      verdict += ": no filter matches"
    }
    var table = TextTable([
      ("SUBLAYER", .left), ("FILTER", .left), ("WEIGHT", .right), ("ACTION", .left), ("WHY", .left),
    ])
    for step in report.steps {
      let action = step.callout.map { "\(step.action) \($0)" } ?? step.action
      let outcomes = ["permit", "block", "continue"].compactMap { answer in
        step.outcomes[answer].map { "\(answer): \($0)" }
      }
      let why = outcomes.isEmpty ? "" : " (\(outcomes.joined(separator: ", ")))"
      table.add([step.sublayer, step.filter, "\(step.weight)", action, step.reason + why])
    }
    let place = report.hook.map { "\(report.layer) at \($0)" } ?? report.layer
    return "\(place): \(verdict)\n" + (report.steps.isEmpty ? "" : table.text(ifEmpty: ""))
  }
}
