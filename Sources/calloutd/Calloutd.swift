// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl

/// The daemon's command line.
@main
struct Calloutd: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calloutd",
    abstract: "Classifies packets with callouts at netfilter's hooks.",
    discussion: "Exit codes: 0 fine, 1 failed, 64 usage, 77 not permitted.",
    version: calloutVersion,
    subcommands: [RunCommand.self, CheckCommand.self, ProbeCommand.self, RulesCommand.self])
}

/// The option that says which policy file.
struct ConfigurationOption: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("The policy file.", valueName: "file"))
  var config = "/etc/callout/policy.yaml"
}
