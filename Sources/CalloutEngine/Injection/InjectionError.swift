// SPDX-License-Identifier: Apache-2.0

public import PacketTagging

/// Why an injection was refused; then nothing is completed and the caller still owns the packet.
public enum InjectionError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The kernel refused it.
  case refused(errno: Int32, text: String)
  /// The engine has stopped.
  case closed
  /// The layer is not ready: nothing is diverted there yet. `STATUS_FWP_TCPIP_NOT_READY`.
  case notReady
  /// The handle is being destroyed. `STATUS_FWP_INJECT_HANDLE_CLOSING`.
  case handleClosing
  /// The handle was made for something else. `STATUS_FWP_INJECT_HANDLE_STALE`.
  case handleStale
  /// No filter of a callout that is registered works at the layer.
  ///
  /// WFP leaves open what happens then.
  case noCallout(layer: Layer)
  /// Frames are not injected that way at the layer. `STATUS_FWP_INCOMPATIBLE_LAYER`.
  case wrongLayer(Layer)
  /// Clones and invented frames need a completion function. `STATUS_INVALID_PARAMETER`.
  case completionRequired
  /// The frame's MAC header cannot be read. `STATUS_INVALID_PARAMETER`.
  case malformedFrame
  /// The packet's headers cannot be read, or it is cut. `STATUS_INVALID_PARAMETER`.
  case malformedPacket
  /// A handle of IP packets is for one family, IPv4 or IPv6. `STATUS_INVALID_PARAMETER`.
  case familyRequired
  /// The kinds hold bits that mean nothing. `STATUS_FWP_INVALID_FLAGS`.
  case unknownKinds(UInt32)
  /// The frame has been injected too often.
  case tooManyHops
  /// The interface is down. `STATUS_NDIS_MEDIA_DISCONNECTED`.
  case interfaceDown(UInt32)
  /// There is no such interface, or nothing of ours is at it.
  case noInterface(UInt32)

  /// What is wrong and what to do about it.
  public var description: String {
    switch self {
    case .refused(_, let text): "the kernel refused the packet: \(text)"
    case .closed: "the engine has stopped"
    case .notReady: "the layer is not ready; try again when its filters are in force"
    case .handleClosing: "the injection handle is being destroyed; make another"
    case .handleStale: "the injection handle is for something else; make one of the right kind"
    case .noCallout(let layer):
      "no filter at \(layer.name) asks a callout; add one before injecting there"
    case .wrongLayer(let layer):
      "\(layer.name) is of the other direction, or indicates no frames; use another layer"
    case .completionRequired:
      "only an unaltered original may be injected without a completion function; give one"
    case .malformedFrame: "the frame's MAC header cannot be read; give a whole frame"
    case .malformedPacket: "the packet cannot be read, or it is cut; give a whole packet"
    case .familyRequired: "a handle of IP packets is for one family; make one for each"
    case .unknownKinds(let bits):
      "0x\(String(bits, radix: 16)) holds unknown kinds; use the bits of InjectionKinds"
    case .tooManyHops: "the frame has been injected too often; permit what you injected"
    case .interfaceDown(let index): "the interface \(index) is down; set it up first"
    case .noInterface(let index): "there is no interface \(index) that frames are injected at"
    }
  }

  /// The `NTSTATUS` that WFP returns for it, nil where it has none.
  public var status: UInt32? {
    switch self {
    case .notReady: 0xc022_0100
    case .handleClosing: 0xc022_0101
    case .handleStale: 0xc022_0102
    case .wrongLayer: 0xc022_0014
    case .unknownKinds: 0xc022_001e
    case .completionRequired, .malformedFrame, .malformedPacket, .familyRequired: 0xc000_000d
    case .interfaceDown: 0xc023_001f
    case .refused, .closed, .noCallout, .tooManyHops, .noInterface: nil
    }
  }
}
