// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer

/// The program that diverts a device until it is killed.
enum FrameHolder {
  /// Beside the tests' own bundle.
  static var path: String {
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
    let folder = bundle.flatMap { $0.components(separatedBy: ".xctest").first }.map {
      URL(fileURLWithPath: $0).deletingLastPathComponent().path
    }
    return (folder ?? "\(root)/.build/debug") + "/frame-holder"
  }

  /// Diverts both directions of a device.
  static func command(_ device: String) -> String {
    "\(path) \(device) 0 both \(EachAttachment.current?.rawValue ?? "")"
  }

  /// The repository.
  static var root: String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().path
  }

  /// A C compiler, if there is one.
  static let compiler = ["/usr/bin/cc", "/usr/bin/clang", "/opt/swift/usr/bin/clang"].first {
    (path: String) in access(path, X_OK) == 0
  }

  /// The helper devices that there are.
  static func helpers() throws -> [String] {
    try LinkDevice.all().map(\.name).filter(HelperDevices.isName)
  }

  /// Frames that a device did not queue: a helper does so with all that are diverted to it.
  static func refused(_ name: String) throws -> Int {
    let line = try Shell.run("grep '\(name):' /proc/thread-self/net/dev")
    let columns = line.split(whereSeparator: \.isWhitespace)
    return columns.count > 12 ? Int(columns[12]) ?? 0 : 0
  }
}
