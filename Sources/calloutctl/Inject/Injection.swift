// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl
internal import CaptureFiles
internal import Foundation
internal import Kernel
internal import Synchronization

/// Frames under way to the daemon, request by request; a signal may end it between two of them.
final class Injection: Sendable {
  private struct State {
    /// Frames that the daemon has told of.
    var told = 0
    var injected = 0
    var hasEnded = false
    /// The daemon has a request whose frames it has not all told of.
    var isUnderWay = false
    var isInterrupted = false
  }

  /// A signal has ended the injection behind a request.
  struct Interrupted: Error {}

  private let client: ControlClient
  private let interface: String
  private let direction: InjectionRequest.Direction
  /// Each frame has a request of its own, because the next one may be long in coming.
  private let isSingle: Bool
  private let state = Mutex(State())

  init(
    _ client: ControlClient, _ interface: String, _ direction: InjectionRequest.Direction,
    isSingle: Bool
  ) {
    self.client = client
    self.interface = interface
    self.direction = direction
    self.isSingle = isSingle
  }

  /// Frames of one request.
  struct Batch {
    private(set) var form: CapturedFrame.Form?
    private(set) var texts: [String] = []
    private var length = 0

    var isEmpty: Bool { texts.isEmpty }

    /// Adds a frame, if there is room for it.
    mutating func add(_ frame: CapturedFrame) -> Bool {
      let text = Data(frame.bytes).base64EncodedString()
      // With its quotes and comma.
      let length = length + text.utf8.count + 3
      let fits =
        texts.count < InjectionRequest.maximumFrames && length <= InjectionRequest.maximumText
        && form == frame.form
      guard isEmpty || fits else { return false }
      self.length = length
      form = frame.form
      texts.append(text)
      return true
    }
  }

  /// Injects the frames that `next` gives; with an interval each by itself, when its time has come.
  func run(interval: Duration?, _ next: () throws -> CapturedFrame?) throws {
    let clock = ContinuousClock()
    var due = clock.now
    var batch = Batch()
    while let frame = try next() {
      if let interval {
        Thread.sleep(forTimeInterval: max(0, (due - clock.now) / .seconds(1)))
        // What is late is not made up for.
        due = max(due + interval, clock.now)
      }
      if !batch.add(frame) {
        try send(batch)
        batch = Batch()
        _ = batch.add(frame)
      }
      guard isSingle else { continue }
      try send(batch)
      batch = Batch()
    }
    if !batch.isEmpty { try send(batch) }
  }

  private func send(_ batch: Batch) throws {
    let request = ControlRequest(
      .inject,
      injection: InjectionRequest(
        interface: interface, direction: direction, form: batch.form?.rawValue,
        frames: batch.texts))
    let before = try state.withLock { state in
      guard !state.isInterrupted else { throw Interrupted() }
      state.isUnderWay = true
      return state.told
    }
    defer { state.withLock { $0.isUnderWay = false } }
    do {
      try client.exchange(request) { line in
        try take(line, before)
        return true
      }
    } catch var failure as ControlFailure {
      failure.error.frame = failure.error.frame.map { $0 + before }
      if let frame = failure.error.frame {
        failure.error.message = "frame \(frame + 1): \(failure.error.message)"
      }
      throw failure
    }
    guard state.withLock({ $0.told }) == before + batch.texts.count else {
      throw ControlFailure(.notRunning, "the daemon has stopped before all frames were injected")
    }
  }

  private func take(_ bytes: [UInt8], _ before: Int) throws {
    var line = try JSONDecoder().decode(InjectionLine.self, from: Data(bytes))
    line.first += before
    state.withLock { state in
      state.told += line.count
      if line.injected { state.injected += line.count }
    }
    if client.options.json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = .sortedKeys
      StandardStream.output.write(Array(try encoder.encode(line)) + [UInt8(ascii: "\n")])
    } else if !line.injected {
      let last = line.first + line.count
      let frames = line.count == 1 ? "frame \(last)" : "frames \(line.first + 1) to \(last)"
      Self.tell("\(frames): \(line.status) (\(line.code))")
    }
  }

  /// Has the injection end when the request under way is done; false if there is none, or if this was
  /// asked before.
  func interrupt() -> Bool {
    state.withLock { state in
      defer { state.isInterrupted = true }
      return state.isUnderWay && !state.isInterrupted
    }
  }

  /// Says how many frames were injected, once; the exit code.
  func end() -> ExitCode {
    let (told, injected, isFirst) = state.withLock { state in
      defer { state.hasEnded = true }
      return (state.told, state.injected, !state.hasEnded)
    }
    if isFirst, !client.options.json {
      Self.tell("\(injected) \(injected == 1 ? "frame" : "frames") injected")
    }
    return told == injected ? .success : .failure
  }

  static func tell(_ text: String) {
    StandardStream.error.write(Array("calloutctl: \(text)\n".utf8))
  }
}
