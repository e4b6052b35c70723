// SPDX-License-Identifier: Apache-2.0

import CalloutEngine
import PacketTagging
import Synchronization

/// Pended packets that a test keeps until it decides them.
final class HeldPackets: Sendable {
  /// A packet cannot be copied, so an array holds boxes.
  private final class Box: Sendable {
    let packet: Mutex<PendedPacket?>
    init(_ packet: consuming PendedPacket) { self.packet = Mutex(packet) }
    func take() -> PendedPacket? { packet.withLock { $0.take() } }
    func retrieve(_ tag: ContextTag) -> Result<UInt64, TaggingError> {
      packet.withLock { packet in
        guard let kept = packet.take() else { return .failure(.notFound) }
        let result = Result { () throws(TaggingError) in try kept.retrieve(tag) }
        packet = consume kept
        return result
      }
    }
  }

  private let boxes = Mutex<[Box]>([])

  func keep(_ packet: consuming PendedPacket) {
    let box = Box(packet)
    boxes.withLock { $0.append(box) }
  }

  var count: Int { boxes.withLock { $0.count } }

  func retrieve(_ tag: ContextTag) -> [Result<UInt64, TaggingError>] {
    boxes.withLock { $0 }.map { $0.retrieve(tag) }
  }

  func permitAll() { for box in takeAll() { box.take()?.permit() } }
  func blockAll() { for box in takeAll() { box.take()?.block() } }
  func dropAll() { for box in takeAll() { _ = box.take() } }

  private func takeAll() -> [Box] {
    boxes.withLock { boxes in
      let all = boxes
      boxes = []
      return all
    }
  }
}
