// SPDX-License-Identifier: Apache-2.0

/// What the command line asks of the daemon: one JSON object on one line, one a connection.
///
/// The daemon answers in lines of JSON, then closes the connection.
public struct ControlRequest: Codable, Sendable, Hashable {
  /// The questions that the daemon knows.
  public enum Command: String, Codable, Sendable, CaseIterable {
    /// One `StatusReport`.
    case status
    /// A `QueueReport` for each queue.
    case queues
    /// A `TagReport` for each tag.
    case tags
    /// An `EventLine` for each event, and a `DropLine` for each block if so asked, until one side
    /// closes the connection.
    case events
    /// `CaptureLine`s with the bytes of each packet that is tagged, among the `EventLine`s, until one
    /// side closes the connection.
    case capture
    /// A `FilterReport` for each filter.
    case filters
    /// A `CalloutReport` for each callout.
    case callouts
    /// Reads the policy file again: a `ReloadReport`.
    case reload
    /// Injects frames: an `InjectionLine` for each run of them that ended alike.
    case inject
    /// What the policy makes of a packet: an `ExplainReport` for each layer.
    case explain
  }

  /// The longest request, its newline included, in bytes.
  ///
  /// The longest frame fits in.
  public static let maximumLength = 131_072

  /// The question's name; a daemon may not know it.
  public var command: String
  /// Only events and packets of the tag of this name.
  public var tag: String?
  /// The stream ends after so many events.
  public var count: Int?
  /// Whether `events` are to tell of blocks too, as `DropLine`s.
  public var drops: Bool?
  /// The most bytes of each packet, nil for the whole packet.
  public var snap: UInt32?
  /// What is to be injected.
  public var injection: InjectionRequest?
  /// What is to be explained.
  public var explain: ExplainRequest?

  /// A request.
  public init(
    _ command: Command, tag: String? = nil, count: Int? = nil, drops: Bool? = nil,
    snap: UInt32? = nil,
    injection: InjectionRequest? = nil, explain: ExplainRequest? = nil
  ) {
    self.command = command.rawValue
    self.tag = tag
    self.count = count
    self.drops = drops
    self.snap = snap
    self.injection = injection
    self.explain = explain
  }
}

/// The answer when there is no other.
public struct ControlFailure: Codable, Sendable, Hashable, Error, CustomStringConvertible {
  /// What went wrong.
  public struct Reason: Codable, Sendable, Hashable {
    /// For programs.
    public var code: String
    /// For people.
    public var message: String
    /// Which of the given frames it is about, 0 the first; nil if it is about none.
    public var frame: Int?
  }

  /// What kinds of failure there are.
  public enum Code: String, Sendable, CaseIterable {
    /// The request is no JSON object of the expected form.
    case malformedRequest = "malformed-request"
    /// The request is longer than `ControlRequest.maximumLength`.
    case requestTooLong = "request-too-long"
    /// There is no such command.
    case unknownCommand = "unknown-command"
    /// There is no such tag.
    case unknownTag = "unknown-tag"
    /// Only root may ask.
    case notPermitted = "not-permitted"
    /// Too many connections are open.
    case busy
    /// The daemon is starting or stopping.
    case notRunning = "not-running"
    /// The policy file has errors; the running policy stays.
    case policy
    /// There is no such interface.
    case noInterface = "no-interface"
    /// The interface's frames of that direction are not diverted.
    case notDiverted = "not-diverted"
    /// No filter asks a callout at the layer.
    case noCallout = "no-callout"
    /// The interface is down.
    case interfaceDown = "interface-down"
    /// A frame is longer than the interface takes.
    case frameTooLong = "frame-too-long"
    /// A frame is none, or not of the interface's kind.
    case wrongFrame = "wrong-frame"
    /// The bridge could not do it.
    case failed
  }

  /// What went wrong.
  public var error: Reason

  /// A failure.
  public init(_ code: Code, _ message: String, frame: Int? = nil) {
    error = Reason(code: code.rawValue, message: message, frame: frame)
  }

  /// The failure's kind, nil if a newer daemon sent one that is not known here.
  public var code: Code? { Code(rawValue: error.code) }

  /// The message.
  public var description: String { error.message }
}
