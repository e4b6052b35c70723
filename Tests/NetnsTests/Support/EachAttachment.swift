// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import LinkLayer
import Testing

/// Runs each test of a suite by every way in which this kernel can hang a divert at a device.
struct EachAttachment: SuiteTrait, TestTrait, TestScoping {
  /// The way that the running test is to divert by.
  @TaskLocal static var current: DivertAttachment?

  /// The ways that this kernel has.
  static let here: [DivertAttachment] = {
    let release = (try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)) ?? ""
    let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
    return numbers.lexicographicallyPrecedes([6, 6]) ? [.clsact] : [.tcx, .clsact]
  }()

  let isRecursive = true
  var ways = here

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    for attachment in ways {
      do {
        try await Self.$current.withValue(attachment) { try await function() }
      } catch {
        Issue.record("\(attachment): \(error)")
      }
    }
  }
}

extension Trait where Self == EachAttachment {
  /// Diverts by each way that there is.
  static var diverts: Self { EachAttachment() }
  /// Diverts by clsact, wherever it runs.
  static var divertsByClsact: Self { EachAttachment(ways: [.clsact]) }
}
