// SPDX-License-Identifier: Apache-2.0

/// One packet or frame that a filter or callout blocked: a line among those of `events`.
///
/// Mirrors `FWPM_NET_EVENT_CLASSIFY_DROP2`.
public struct DropLine: Codable, Sendable, Hashable {
  /// What `event` says in such a line.
  public static let event = "classify_drop"

  /// CLOCK_MONOTONIC in nanoseconds.
  public var time: UInt64
  /// "classify_drop".
  public var event = DropLine.event
  /// The layer.
  public var layer: String
  /// The name of the filter that decided.
  public var filter: String
  /// Its place among the filters of the policy, from 0, as `filters` lists them.
  public var filterID: Int
  /// The callout that it asked, null if it asked none.
  @Nullable public var callout: String? = nil
  /// Whether it overrides a higher sublayer's permit for good.
  public var veto = false
  /// The packet's id in its queue, 0 for diverted frames.
  public var packetID: UInt32 = 0
  /// The queue of the worker that decided.
  public var queue: UInt16
  /// The device of arrival.
  public var input: String?
  /// The device of departure.
  public var output: String?
  /// The packet's length in bytes.
  public var length: UInt32 = 0
  /// The protocol's number; nil of what is no IP packet.
  public var ipProtocol: UInt8?
  /// The sender's address.
  public var source: String?
  /// The receiver's address.
  public var destination: String?
  /// The sender's port.
  public var sourcePort: UInt16?
  /// The receiver's port.
  public var destinationPort: UInt16?
  /// The EtherType in hexadecimal; nil where no frames are met.
  public var etherType: String?
  /// Earlier blocks that there was no room to tell of, since the last line.
  public var lost: UInt64?

  /// A block of which no more is known.
  public init(time: UInt64, layer: String, filter: String, filterID: Int, queue: UInt16) {
    self.time = time
    self.layer = layer
    self.filter = filter
    self.filterID = filterID
    self.queue = queue
  }

  enum CodingKeys: String, CodingKey {
    case time, event, layer, filter
    case filterID = "filter-id"
    case callout, veto
    case packetID = "packet-id"
    case queue, input, output, length
    case ipProtocol = "protocol"
    case source, destination
    case sourcePort = "source-port"
    case destinationPort = "destination-port"
    case etherType = "ether-type"
    case lost
  }
}
