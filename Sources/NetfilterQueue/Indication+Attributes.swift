// SPDX-License-Identifier: Apache-2.0

internal import CNetfilter
internal import PacketViews

extension Indication {
  /// Takes in one attribute whose value is the `length` bytes at `at`, all inside `bytes`.
  mutating func read(_ type: UInt16, _ bytes: RawSpan, _ at: Int, _ length: Int) {
    switch UInt32(type) {
    case NFQA_PAYLOAD.rawValue:
      payloadOffset = at
      payloadLength = length
    case NFQA_MARK.rawValue where length >= 4:
      metadata.mark = bytes.bigUInt32(at)
    case NFQA_IFINDEX_INDEV.rawValue where length >= 4:
      metadata.inputDevice = bytes.bigUInt32(at)
    case NFQA_IFINDEX_OUTDEV.rawValue where length >= 4:
      metadata.outputDevice = bytes.bigUInt32(at)
    case NFQA_IFINDEX_PHYSINDEV.rawValue where length >= 4:
      metadata.physicalInputDevice = bytes.bigUInt32(at)
    case NFQA_IFINDEX_PHYSOUTDEV.rawValue where length >= 4:
      metadata.physicalOutputDevice = bytes.bigUInt32(at)
    case NFQA_CAP_LEN.rawValue where length >= 4:
      metadata.originalLength = bytes.bigUInt32(at)
      isTruncated = true
    case NFQA_SKB_INFO.rawValue where length >= 4:
      let state = bytes.bigUInt32(at)
      metadata.isChecksumPartial = state & 1 != 0  // NFQA_SKB_CSUMNOTREADY
      metadata.isSegmentationPending = state & 2 != 0  // NFQA_SKB_GSO
      metadata.isChecksumUnverified = state & 4 != 0  // NFQA_SKB_CSUM_NOTVERIFIED
    case NFQA_UID.rawValue where length >= 4:
      metadata.rawUserID = bytes.bigUInt32(at)
      metadata.present.insert(.userID)
    case NFQA_GID.rawValue where length >= 4:
      metadata.rawGroupID = bytes.bigUInt32(at)
      metadata.present.insert(.groupID)
    case NFQA_TIMESTAMP.rawValue where length >= 16:
      metadata.timestamp = bytes.bigUInt64(at) &* 1_000_000 &+ bytes.bigUInt64(at &+ 8)
    case NFQA_HWADDR.rawValue where length >= 12:
      metadata.hardwareAddressLength = UInt8(min(8, bytes.bigUInt16(at)))
      metadata.hardwareAddress = bytes.hostUInt64(at &+ 4)
    case NFQA_CT_INFO.rawValue where length >= 4:
      metadata.rawConntrackState = bytes.bigUInt32(at)
      metadata.present.insert(.conntrackState)
    case NFQA_CT.rawValue:
      readConntrack(bytes, at, at &+ length)
    case UInt32(CNF_ATTRIBUTE_VLAN):
      readVLAN(bytes, at, at &+ length)
    case UInt32(CNF_ATTRIBUTE_L2HDR):
      linkHeaderOffset = at
      linkHeaderLength = length
    case UInt32(CNF_ATTRIBUTE_PRIORITY) where length >= 4:
      metadata.priority = bytes.bigUInt32(at)
    default:
      break
    }
  }

  private mutating func readVLAN(_ bytes: RawSpan, _ start: Int, _ end: Int) {
    var cursor = start
    while let attribute = bytes.attribute(cursor, end) {
      if attribute.length >= 2 {
        switch attribute.type {
        case 1: metadata.rawVLANProtocol = bytes.bigUInt16(attribute.at)
        case 2: metadata.rawVLANTCI = bytes.bigUInt16(attribute.at)
        default: break
        }
      }
      metadata.present.insert(.vlan)
      cursor = attribute.next
    }
  }

  private mutating func readConntrack(_ bytes: RawSpan, _ start: Int, _ end: Int) {
    var cursor = start
    while let attribute = bytes.attribute(cursor, end) {
      if attribute.length >= 4 {
        switch attribute.type {
        case 8:  // CTA_MARK
          metadata.rawConntrackMark = bytes.bigUInt32(attribute.at)
          metadata.present.insert(.conntrackMark)
        case 12:  // CTA_ID
          metadata.rawConntrackID = bytes.bigUInt32(attribute.at)
          metadata.present.insert(.conntrackID)
        default: break
        }
      }
      cursor = attribute.next
    }
  }
}
