// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl
internal import Foundation
internal import Kernel

/// `calloutctl capture`.
struct CaptureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capture", abstract: "Writes tagged packets and their lives to a pcapng file.",
    discussion: """
      A packet is written as it was when it had been tagged at the first layer, once all its \
      contexts have ended; its comments tell their lives. pcapng has no verdict of NFQUEUE, so \
      epb_verdict is one of traffic control: TC_ACT_OK (0) for a packet that went on, TC_ACT_SHOT \
      (2) for one that a verdict or the kernel dropped. Packets whose first tag came at a MAC or \
      vswitch layer are not written.
      """)

  @OptionGroup var options: ClientOptions
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The file to write; - for standard output.", valueName: "file"))
  var write: String
  @Option(help: ArgumentHelp("Stop after so many packets.", valueName: "number"))
  var count: UInt64?
  @Option(help: ArgumentHelp("Only packets under this tag.", valueName: "name"))
  var tag: String?
  @Option(help: ArgumentHelp("The most bytes of each packet.", valueName: "bytes"))
  var snap: UInt32 = 65531

  func validate() throws {
    if snap == 0 { throw ValidationError("--snap is 0, expected 1 or more") }
    if options.json { throw ValidationError("there is no --json of a capture") }
  }

  func run() throws {
    let capture = Capture(path: write)
    let wanted = count ?? .max
    do {
      // Before anything else may make a thread.
      try EndSignals.handle { Self.exit(withError: capture.end(.asked)) }
      try ControlClient(options: options).ask(ControlRequest(.capture, tag: tag, snap: snap)) {
        try capture.take($0)
        return capture.count < wanted
      }
    } catch {
      _ = capture.end(.failed)
      throw error
    }
    let code = capture.end(capture.count < wanted ? .deserted : .asked)
    guard code == .success else { throw code }
  }
}
