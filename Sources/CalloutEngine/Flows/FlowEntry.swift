// SPDX-License-Identifier: Apache-2.0

package import PacketTagging

/// What is known of one flow.
package struct FlowEntry: BitwiseCopyable, Sendable {
  /// Who sent the flow's first packet, as far as this host has a part in it.
  package enum Opener: UInt8, BitwiseCopyable, Sendable {
    /// Neither this host's own nor for it so far.
    case unknown
    /// Another host.
    case remote
    /// This host.
    case local
  }

  package var key: FlowKey
  /// The flow's number, never given twice: WFP's flow id.
  package var id: UInt64 = 0
  /// The kernel's number of the connection, 0 until it is told, and of the one before it.
  package var connection: UInt32 = 0
  package var formerConnection: UInt32 = 0
  /// When a packet of it was last met.
  package var lastMet: UInt64 = 0
  /// The callouts that need not be asked any more, bit by number.
  package var released: UInt64 = 0
  /// The policy under which it was authorized as one that this host opens, and as one that is opened
  /// to it, 0 if it was not; what goes over the loopback device is both.
  package var connectAuthorization: UInt32 = 0
  package var acceptAuthorization: UInt32 = 0
  package var opener = Opener.unknown
  /// A packet against the first one's direction was met.
  package var isAnswered = false
  /// Who has said that TCP's connection is over: bit 0 one end, bit 1 the other.
  package var closing: UInt8 = 0
  /// Whether the first packet went from the key's first end to its second.
  package var isForward = true
  /// It was ended by a callout: nothing of it passes any more.
  package var isAborted = false
  /// Callouts were told that it is established.
  package var isEstablished = false
  /// It was handed to the kernel, which lets its packets pass unseen.
  package var isHandedOver = false
  /// How the first packet was met, for those who are told of the flow later.
  package var device: UInt32 = 0
  package var userID: UInt32 = .max
  package var groupID: UInt32 = .max
  /// The next flow of the same hash, or the next free place.
  var next: Int32 = -1
  /// What callouts have noted.
  var notes: Int32 = -1
  var isUsed = false
}

/// What one callout has noted on a flow.
struct FlowNote: BitwiseCopyable, Sendable {
  /// The layer of the notes that count what a callout was asked.
  static let counting = UInt16.max

  var callout: Int32 = -1
  var layer: UInt16 = 0
  var value: UInt64 = 0
  var next: Int32 = -1
}

/// A context that has left its flow; its callout is still to be told.
package struct FlowDeletion: BitwiseCopyable, Sendable, Hashable {
  package var callout: Int32
  package var layer: Layer
  package var context: UInt64
}

/// One flow at one time, for those who come back to it later: it may have ended meanwhile.
package struct FlowReference: BitwiseCopyable, Sendable, Hashable {
  package static let none = FlowReference(place: -1, id: 0)
  package var place: Int32
  package var id: UInt64
}
