// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutBridge
internal import Kernel

/// `calloutd probe`: what the running kernel can do, and what to do where it cannot.
struct ProbeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "probe", abstract: "Tells what this kernel can do.")

  @Flag(help: "Print one JSON object for each feature.") var json = false

  func run() async throws {
    for feature in await Bridge.probe() {
      let line = FeatureLine(feature)
      print(json ? try JSONLine.text(line) : line.text)
    }
  }
}

/// One feature as `probe` prints it.
struct FeatureLine: Codable {
  var name: String
  var support: String
  var reason: String?
  var remedy: String?

  init(_ feature: KernelFeature) {
    name = feature.name
    switch feature.support {
    case .supported: support = "supported"
    case .unsupported(let reason, let remedy):
      support = "unsupported"
      self.reason = reason
      self.remedy = remedy
    case .unknown(let reason):
      support = "unknown"
      self.reason = reason
    }
  }

  var text: String {
    let padding = String(repeating: " ", count: max(1, 18 - name.count))
    var text = "\(name)\(padding)\(support)"
    if let reason { text += ": \(reason)" }
    if let remedy { text += "; \(remedy)" }
    return text
  }
}
