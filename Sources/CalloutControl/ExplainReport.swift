// SPDX-License-Identifier: Apache-2.0

/// Which packet is to be explained: what `explain` asks for.
public struct ExplainRequest: Codable, Sendable, Hashable {
  /// The packet in base64; nil if `from` and `to` describe it.
  public var packet: String? = nil
  /// What the packet begins with, "ethernet" or "ip"; nil for "ip".
  public var form: String? = nil
  /// Which of several packets this is, given back with the answer.
  public var number: Int? = nil
  /// A protocol's name or number.
  public var ipProtocol: String? = nil
  /// The sender's address.
  public var from: String? = nil
  /// The receiver's address.
  public var to: String? = nil
  /// The sender's port, or an ICMP type.
  public var sourcePort: UInt16? = nil
  /// The receiver's port, or an ICMP code.
  public var destinationPort: UInt16? = nil
  /// At this layer only.
  public var layer: String? = nil
  /// The name of the device of arrival.
  public var input: String? = nil
  /// The name of the device of departure.
  public var output: String? = nil
  /// The owner of the sending socket.
  public var userID: UInt32? = nil
  /// The group of the sending socket.
  public var groupID: UInt32? = nil
  /// The path of the program that has the flow's socket.
  public var program: String? = nil

  enum CodingKeys: String, CodingKey {
    case packet, form, number
    case ipProtocol = "protocol"
    case from, to
    case sourcePort = "source-port"
    case destinationPort = "destination-port"
    case layer, input, output
    case userID = "user-id"
    case groupID = "group-id"
    case program = "app-id"
  }

  /// A request for nothing yet.
  public init() {}
}

/// What becomes of a packet at one layer, and why: a line of the answer to `explain`.
public struct ExplainReport: Codable, Sendable, Hashable {
  /// A filter that matches, in the order in which filters are met.
  public struct Step: Codable, Sendable, Hashable {
    /// The filter's name.
    public var filter: String
    /// Its sublayer.
    public var sublayer: String
    /// The filter's weight as a number.
    public var weight: UInt64
    /// What it does.
    public var action: String
    /// The callout that would be asked or shown the packet, null for none.
    @Nullable public var callout: String? = nil
    /// What comes of each answer of the callout, others permitting or continuing: "permit" or
    /// "block".
    public var outcomes: [String: String]
    /// Why it counts or does not.
    public var reason: String

    /// A step.
    public init(
      filter: String, sublayer: String, weight: UInt64, action: String, callout: String?,
      outcomes: [String: String], reason: String
    ) {
      self.filter = filter
      self.sublayer = sublayer
      self.weight = weight
      self.action = action
      self.callout = callout
      self.outcomes = outcomes
      self.reason = reason
    }
  }

  /// Which of several packets it is about, null if the request gave no number.
  @Nullable public var packet: Int? = nil
  /// The layer.
  public var layer: String
  /// The netfilter hook at which packets meet it here, null for frames.
  @Nullable public var hook: String? = nil
  /// "permit", "block", or "callouts" if it is up to them.
  public var verdict: String
  /// The filter that decides if all callouts permit or continue, null for none.
  @Nullable public var decidedBy: String? = nil
  /// The filters.
  public var steps: [Step]

  enum CodingKeys: String, CodingKey {
    case packet, layer, hook, verdict
    case decidedBy = "decided-by"
    case steps
  }

  /// A report.
  public init(
    layer: String, hook: String?, verdict: String, decidedBy: String?, steps: [Step]
  ) {
    self.layer = layer
    self.hook = hook
    self.verdict = verdict
    self.decidedBy = decidedBy
    self.steps = steps
  }
}
