// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CalloutControl
internal import CaptureFiles
internal import Kernel

/// `calloutctl inject`.
struct InjectCommand: ParsableCommand {
  /// Which way frames go.
  enum Way: String, ExpressibleByArgument, CaseIterable {
    case send, receive

    var direction: InjectionRequest.Direction {
      switch self {
      case .send: .send
      case .receive: .receive
      }
    }
  }

  static let configuration = CommandConfiguration(
    commandName: "inject", abstract: "Injects frames at an interface.",
    discussion: """
      Frames come from a pcap or pcapng file, which is checked whole first, or as hexadecimal \
      digits: aabbcc, aa:bb:cc and 0xaa 0xbb mean the same. They begin with their MAC header, on \
      raw-IP interfaces with the IP header. The interface must be one of the policy's, and a filter \
      at the MAC layer of that direction must ask a callout. Injected frames do not meet that layer.

        calloutctl inject -i eth0 --direction send --hex "ffffffffffff 020000000001 88b5 00"
        calloutctl inject -i eth0 --direction receive capture.pcap --interval 10ms
      """)

  @OptionGroup var options: ClientOptions
  @Option(
    name: .shortAndLong, help: ArgumentHelp("At which interface.", valueName: "name"))
  var interface: String
  @Option(
    help: ArgumentHelp(
      "send: out by the interface. receive: to this host, as if it had come by it.",
      valueName: "way"))
  var direction: Way
  @Option(
    help: ArgumentHelp(
      "A frame in hexadecimal digits; may be given again. -: one a line of standard input.",
      valueName: "digits"))
  var hex: [String] = []
  @Option(
    help: ArgumentHelp(
      "Inject so many frames, beginning again after the last.", valueName: "number"))
  var count: Int?
  @Option(
    help: ArgumentHelp("Wait so long between frames: 10ms, 1s.", valueName: "duration"),
    transform: Self.duration)
  var interval: Duration?
  @Flag(help: "Begin again after the last frame, until interrupted or --count.")
  var `repeat` = false
  @Flag(help: "Only read and count the frames.") var dryRun = false
  @Argument(help: ArgumentHelp("A pcap or pcapng file; - for standard input.", valueName: "file"))
  var file: String?

  private static func duration(_ text: String) throws -> Duration {
    guard let duration = Duration(text: text), duration <= .seconds(3600) else {
      throw ValidationError("found \"\(text)\", expected a duration such as 10ms or 1s")
    }
    return duration
  }

  func validate() throws {
    guard hex.isEmpty != (file == nil) else {
      throw ValidationError("expected either a file or --hex, and one of them")
    }
    if let count, count < 1 { throw ValidationError("--count is \(count), expected 1 or more") }
    if hex.contains("-"), hex.count > 1 {
      throw ValidationError("--hex - reads standard input, expected no other --hex")
    }
    if hex != ["-"] { _ = try origin() }
  }

  private func origin() throws -> FrameSource.Origin {
    if let file { return .file(file) }
    if hex == ["-"] { return .lines }
    return .frames(
      try hex.enumerated().map { number, text in
        do { return CapturedFrame(try FrameText.bytes(text)) } catch {
          throw ValidationError("--hex\(hex.count > 1 ? " \(number + 1)" : ""): \(error)")
        }
      })
  }

  func run() throws {
    let origin = try origin()
    let injection = Injection(
      ControlClient(options: options), interface, direction.direction,
      isSingle: interval != nil || origin.isStream)
    do {
      if dryRun || !origin.isStream { try check(origin) }
      if dryRun { return }
      // Before anything else may make a thread.
      try EndSignals.handle {
        if !injection.interrupt() { Self.exit(withError: injection.end()) }
      }
      try injection.run(interval: interval, try frames(of: origin))
    } catch is Injection.Interrupted {
      // What was under way has been told.
    } catch let error as FrameSourceError {
      _ = injection.end()
      Injection.tell("\(error)")
      throw ExitCode.failure
    } catch {
      _ = injection.end()
      throw ControlClient(options: options).tell(error)
    }
    let code = injection.end()
    guard code == .success else { throw code }
  }

  /// Reads all frames once, so that none is injected of a file that is damaged.
  private func check(_ origin: FrameSource.Origin) throws {
    let source = try FrameSource(origin)
    var (count, bytes) = (0, 0)
    while let frame = try source.next() {
      count += 1
      bytes += frame.bytes.count
    }
    guard count > 0 else { throw Self.noFrames }
    if dryRun { print("\(count) \(count == 1 ? "frame" : "frames"), \(bytes) bytes") }
  }

  private static let noFrames = FrameSourceError(text: "there are no frames to inject")

  /// The frames to inject, as often as they are asked for.
  private func frames(
    of origin: FrameSource.Origin
  ) throws -> () throws -> CapturedFrame? {
    var source = try FrameSource(origin)
    var left = count ?? .max
    var isFirst = true
    let isRepeated = self.repeat || count != nil
    return {
      guard left > 0 else { return nil }
      var frame = try source.next()
      if frame == nil, isFirst { throw Self.noFrames }
      if frame == nil, isRepeated {
        guard !origin.isStream else {
          throw FrameSourceError(
            text: "the frames have come to their end, and standard input or a pipe cannot be read "
              + "again; give a file")
        }
        source = try FrameSource(origin)
        frame = try source.next()
      }
      isFirst = false
      left -= 1
      return frame
    }
  }
}
