// SPDX-License-Identifier: Apache-2.0

/// Which frames are to be injected, and where: what `inject` asks for.
public struct InjectionRequest: Codable, Sendable, Hashable {
  /// Which way frames go.
  public enum Direction: String, Codable, Sendable, CaseIterable {
    /// Out by the interface.
    case send
    /// To this host, as if the interface had received them.
    case receive
  }

  /// The interface's name.
  public var interface: String
  /// Which way.
  public var direction: Direction
  /// What frames begin with, "ethernet" or "ip"; nil if whoever asks does not know.
  public var form: String?
  /// The frames in base64, in their order.
  public var frames: [String]

  /// The most frames of a request.
  public static let maximumFrames = 256
  /// The most that the frames of a request may take in base64, so that it is not too long.
  public static let maximumText = ControlRequest.maximumLength - 4096

  /// A request.
  public init(
    interface: String, direction: Direction, form: String? = nil, frames: [String] = []
  ) {
    self.interface = interface
    self.direction = direction
    self.form = form
    self.frames = frames
  }
}

/// Frames of one request that ended alike: a line of the answer to `inject`.
public struct InjectionLine: Codable, Sendable, Hashable {
  /// The first of them; 0 is the first that was given.
  public var first: Int
  /// How many they are, one after the other.
  public var count: Int
  /// Whether they were injected.
  public var injected: Bool
  /// How it ended, for people.
  public var status: String
  /// How it ended, as an `NTSTATUS` in hexadecimal; 0 or more if they were injected.
  public var code: String

  /// A line.
  public init(first: Int, count: Int, injected: Bool, status: String, code: String) {
    self.first = first
    self.count = count
    self.injected = injected
    self.status = status
    self.code = code
  }
}
