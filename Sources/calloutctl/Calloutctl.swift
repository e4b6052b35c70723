// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl

/// The command line of a running daemon.
@main
struct Calloutctl: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calloutctl",
    abstract: "Asks a running calloutd.",
    discussion: "Exit codes: 0 fine, 1 failed, 64 usage, 69 daemon not there, 77 not permitted.",
    version: calloutVersion,
    subcommands: [
      StatusCommand.self, QueuesCommand.self, TagsCommand.self, EventsCommand.self,
      TraceCommand.self, CaptureCommand.self, InjectCommand.self, ExplainCommand.self,
      FiltersCommand.self, CalloutsCommand.self, ReloadCommand.self,
    ])
}

/// The options that every command has.
struct ClientOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The daemon's control socket.", valueName: "path"))
  var socket = "/run/callout/control.sock"
  @Flag(help: "Print JSON, one object a line.") var json = false
}
