// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutBridge
internal import Kernel
internal import LinkLayer

/// `calloutd probe`: what the running kernel can do, and what to do where it cannot.
struct ProbeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "probe",
    abstract: "Tells what this kernel can do, and which MAC layers each interface can have.")

  @Flag(help: "Print one JSON object for each feature.") var json = false

  func run() async throws {
    var lines = await Bridge.probe().map { FeatureLine($0) }
    try await reportingFailures {
      for findings in try Bridge.probeInterfaces() {
        lines += findings.features.map { FeatureLine($0, of: findings.device.name) }
      }
      for line in lines { print(json ? try JSONLine.text(line) : line.text) }
    }
  }
}

/// One feature as `probe` prints it.
struct FeatureLine: Codable {
  var name: String
  /// The interface that it is about, nil if it is about the kernel.
  var interface: String?
  var support: String
  var reason: String?
  var remedy: String?
  /// What one should know of it where it works.
  var note: String?

  init(_ feature: KernelFeature, of interface: String? = nil) {
    name = feature.name
    self.interface = interface
    note = feature.note
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
    let (subject, width) = interface.map { ("\(name) \($0)", 35) } ?? (name, 18)
    let padding = String(repeating: " ", count: max(1, width - subject.count))
    var text = "\(subject)\(padding)\(support)"
    if let note { text += ": \(note)" }
    if let reason { text += ": \(reason)" }
    if let remedy { text += "; \(remedy)" }
    return text
  }
}
