// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl
internal import Foundation
internal import Kernel
internal import Synchronization

/// A capture under way: the daemon's lines go in, packets go to the file; a signal may end it between
/// two lines.
final class Capture: Sendable {
  /// Why a capture ends.
  enum Ending {
    /// There are enough packets, or somebody asked.
    case asked
    /// The daemon has gone.
    case deserted
    /// What went wrong has been told.
    case failed
  }

  private struct State: ~Copyable {
    /// Nil before the daemon has begun and after the end.
    var file: CaptureFile?
    var joiner = CaptureJoiner()
    var lost: UInt64 = 0
  }

  private let path: String
  private let state = Mutex(State())

  init(path: String) { self.path = path }

  /// Packets written so far.
  var count: UInt64 { state.withLock { $0.file?.count ?? 0 } }

  /// Takes a line of the daemon.
  func take(_ line: [UInt8]) throws {
    let decoder = JSONDecoder()
    if CaptureLine.isOne(line) {
      let line = try decoder.decode(CaptureLine.self, from: Data(line))
      if let begun = line.begun { try begin(begun) }
      state.withLock { state in
        if let packet = line.packet { state.joiner.add(packet) }
        if let lost = line.lost { state.lost = lost }
      }
    } else {
      let event = try decoder.decode(EventLine.self, from: Data(line))
      try state.withLock { state in
        guard let finished = state.joiner.add(event) else { return }
        try state.file?.write(finished)
      }
    }
  }

  private func begin(_ begun: CaptureLine.Beginning) throws {
    try state.withLock { state in
      state.file = try CaptureFile(at: path, snap: begun.snap)
    }
    // Who waits for this knows that later packets will be there.
    tell("capturing to \(path)")
  }

  /// Ends the file and says what is in it; the exit code.
  func end(_ ending: Ending) -> ExitCode {
    state.withLock { state in
      guard var file = state.file.take() else { return .failure }
      do { try file.finish(lost: state.lost) } catch {
        if ending != .failed {
          tell("\(error)")
          return .failure
        }
      }
      tell("\(file.count) packets written to \(path)")
      let lost = state.lost + UInt64(state.joiner.forgotten)
      if lost > 0 { tell("\(lost) packets were lost for want of room") }
      if state.joiner.count > 0 {
        tell("\(state.joiner.count) packets were left out, as their contexts had not ended")
      }
      guard ending == .deserted else { return ending == .asked ? .success : .failure }
      tell("the daemon has stopped: no more packets")
      return ExitCode(69)
    }
  }

  private func tell(_ text: String) {
    StandardStream.error.write(Array("calloutctl: \(text)\n".utf8))
  }
}
