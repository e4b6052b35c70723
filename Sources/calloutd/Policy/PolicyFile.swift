// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutEngine
internal import FirewallRules
internal import Foundation
internal import PacketTagging

/// A policy file that has been read and found right.
struct PolicyFile: Sendable {
  /// Where it was read.
  var path = ""
  /// How the bridge is set up.
  var configuration = BridgeConfiguration()
  /// Whether the daemon installs rules.
  var managesRules = true
  /// By which means; nil: the best that works.
  var ruleBackend: RuleBackend?
  /// Where metrics are served, nil nowhere.
  var metricsListen: ListenAddress?
  /// Whom objects belong to.
  var providers: [ProviderSpec] = []
  /// Settings for callouts.
  var providerContexts: [ProviderContextSpec] = []
  /// The sublayers, "default" only if the file names it.
  var sublayers: [SublayerSpec] = []
  /// The callouts.
  var callouts: [CalloutSpec] = []
  /// The filters of the engine.
  var filters: [FilterSpec] = []
  /// Those that act until the engine's rules stand, and are no part of it.
  var bootFilters: [FilterSpec] = []
}

extension PolicyFile {
  /// The interfaces whose frames the MAC layers see.
  var interfaces: [String] {
    get { configuration.interfaces }
    set { configuration.interfaces = newValue }
  }

  /// Reads a file, or throws everything that is wrong with it.
  static func read(_ path: String) throws(PolicyProblems) -> PolicyFile {
    let text: String
    do {
      let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
      let data = try handle.read(upToCount: PolicyDocument.maximumLength + 1) ?? Data()
      guard data.count <= PolicyDocument.maximumLength else {
        throw CocoaError(.fileReadTooLarge)
      }
      guard let decoded = String(data: data, encoding: .utf8) else {
        throw CocoaError(.fileReadInapplicableStringEncoding)
      }
      text = decoded
    } catch {
      let isDirectory = try? URL(fileURLWithPath: path).resourceValues(forKeys: [.isDirectoryKey])
        .isDirectory
      let message =
        isDirectory == true
        ? "this is a directory, expected a policy file" : Self.explain(error)
      throw PolicyProblems(
        file: path,
        problems: [PolicyProblem(position: .start, message: message)])
    }
    return try parse(text, path: path)
  }

  /// Reads the text of a file, or throws everything that is wrong with it.
  static func parse(_ text: String, path: String) throws(PolicyProblems) -> PolicyFile {
    var problems = ProblemCollector()
    let document = PolicyDocument(text, &problems)
    var reader = PolicyReader(document)
    reader.problems = problems
    var file = PolicyFile()
    file.path = path
    if let root = document.root, !(root.plainText?.isEmpty ?? false) {
      reader.read(root, by: schema, into: &file)
      file.finishRules()
      file.checkSettings(root, &reader)
      file.checkNames(&reader.problems)
      file.checkProviders(&reader.problems)
      file.checkFilters(&reader.problems)
      file.splitBootFilters(root, &reader)
    } else if reader.problems.isEmpty {
      // Most likely cut off while it was written: it must not open what the running policy closes.
      reader.problems.report(
        "the file is empty; a policy that does nothing is written as {}", at: .start)
    }
    guard reader.problems.isEmpty else {
      throw PolicyProblems(file: path, problems: reader.problems.sorted)
    }
    return file
  }

  private mutating func finishRules() {
    configuration.rules = managesRules ? .managed(ruleBackend) : .unmanaged
  }

  private static func explain(_ error: any Error) -> String {
    switch (error as? CocoaError)?.code {
    case .fileReadNoSuchFile?, .fileNoSuchFile?: "the file is not there; give another by --config"
    case .fileReadNoPermission?: "the file may not be read; run as root"
    case .fileReadTooLarge?: "the file is longer than 64 MiB, expected a policy"
    case .fileReadInapplicableStringEncoding?: "the file is not UTF-8 text"
    default: "the file cannot be read: \(error.localizedDescription)"
    }
  }
}
