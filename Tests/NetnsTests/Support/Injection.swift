// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import LinkLayer
import PacketTagging
import Synchronization
import Testing

/// How injections ended.
final class Completions: Sendable {
  private let list = Shared<[InjectionSegment]>([])
  var segments: [InjectionSegment] { list.value }
  var statuses: [InjectionStatus] { list.value.map(\.status) }
  /// Notes each segment.
  var note: InjectionCompletion { { [list] segment in list.change { $0.append(segment) } } }
}

/// A frame that outlives the call in which it was made.
final class KeptFrame: Sendable {
  private let frame: Mutex<InjectableFrame?>
  init(_ frame: consuming InjectableFrame) { self.frame = Mutex(frame) }
  func take() -> InjectableFrame? { frame.withLock { $0.take() } }
}

/// The index of an interface here.
func index(of name: String) throws -> UInt32 {
  try #require(try LinkDevice.find(name: name)).index
}

/// Why an injection was refused, nil if it was not; the frame must have come back then.
func refusal(
  _ outcome: consuming InjectionOutcome, of bytes: [UInt8]? = nil,
  location: SourceLocation = #_sourceLocation
) -> InjectionError? {
  switch consume outcome {
  case .started: return nil
  case .refused(let error, let frame):
    let returned = frame.bytes
    if let bytes { #expect(returned == bytes, sourceLocation: location) }
    return error
  }
}

/// As for frames.
func refusal(
  _ outcome: consuming PacketInjectionOutcome, of bytes: [UInt8]? = nil,
  location: SourceLocation = #_sourceLocation
) -> InjectionError? {
  switch consume outcome {
  case .started: return nil
  case .refused(let error, let packet):
    let returned = packet.bytes
    if let bytes { #expect(returned == bytes, sourceLocation: location) }
    return error
  }
}

/// A frame from the peer of the first link with a datagram for port 7.
func numberedFrame(
  _ number: UInt8, to destination: [UInt8] = Ends.host, from source: [UInt8] = Ends.peer,
  home: [UInt8] = [10, 9, 1, 1], away: [UInt8] = [10, 9, 1, 2]
) -> [UInt8] {
  var packet = datagram(to: home, from: away)
  packet[35] = number
  return destination + source + [8, 0] + packet
}

/// A bridge that sees the frames of the first link, or of others.
func injectingBridge(
  _ interfaces: [String] = ["a1"], _ change: (inout BridgeConfiguration) -> Void = { _ in }
) -> Bridge {
  makeBridge {
    $0.interfaces = interfaces
    change(&$0)
  }
}
