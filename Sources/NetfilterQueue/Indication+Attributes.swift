// SPDX-License-Identifier: Apache-2.0

internal import CNetfilter
internal import PacketViews

extension Indication {
  /// Takes in one attribute; `place` is where its value begins in the datagram.
  @inline(__always)
  mutating func read(_ type: UInt32, _ value: RawSpan, at place: Int) {
    switch type {
    case NFQA_PAYLOAD.rawValue:
      payloadOffset = place
      payloadLength = value.byteCount
    case NFQA_MARK.rawValue where value.byteCount >= 4:
      metadata.mark = value.bigUInt32(0)
    case NFQA_IFINDEX_INDEV.rawValue where value.byteCount >= 4:
      metadata.inputDevice = value.bigUInt32(0)
    case NFQA_IFINDEX_OUTDEV.rawValue where value.byteCount >= 4:
      metadata.outputDevice = value.bigUInt32(0)
    case NFQA_IFINDEX_PHYSINDEV.rawValue where value.byteCount >= 4:
      metadata.physicalInputDevice = value.bigUInt32(0)
    case NFQA_IFINDEX_PHYSOUTDEV.rawValue where value.byteCount >= 4:
      metadata.physicalOutputDevice = value.bigUInt32(0)
    case NFQA_CAP_LEN.rawValue where value.byteCount >= 4:
      metadata.originalLength = value.bigUInt32(0)
      isTruncated = true
    case NFQA_SKB_INFO.rawValue where value.byteCount >= 4:
      let state = value.bigUInt32(0)
      metadata.isChecksumPartial = state & 1 != 0  // NFQA_SKB_CSUMNOTREADY
      metadata.isSegmentationPending = state & 2 != 0  // NFQA_SKB_GSO
      metadata.isChecksumUnverified = state & 4 != 0  // NFQA_SKB_CSUM_NOTVERIFIED
    case NFQA_UID.rawValue where value.byteCount >= 4:
      metadata.rawUserID = value.bigUInt32(0)
      metadata.present.insert(.userID)
    case NFQA_GID.rawValue where value.byteCount >= 4:
      metadata.rawGroupID = value.bigUInt32(0)
      metadata.present.insert(.groupID)
    case NFQA_TIMESTAMP.rawValue where value.byteCount >= 16:
      metadata.timestamp = value.bigUInt64(0) &* 1_000_000 &+ value.bigUInt64(8)
    case NFQA_HWADDR.rawValue where value.byteCount >= 12:
      metadata.hardwareAddressLength = UInt8(min(8, value.bigUInt16(0)))
      metadata.hardwareAddress = value.hostUInt64(4)
    case NFQA_CT_INFO.rawValue where value.byteCount >= 4:
      metadata.rawConntrackState = value.bigUInt32(0)
      metadata.present.insert(.conntrackState)
    case NFQA_CT.rawValue:
      readConntrack(value)
    case UInt32(CNF_ATTRIBUTE_VLAN):
      readVLAN(value)
    case UInt32(CNF_ATTRIBUTE_L2HDR):
      linkHeaderOffset = place
      linkHeaderLength = value.byteCount
    case UInt32(CNF_ATTRIBUTE_PRIORITY) where value.byteCount >= 4:
      metadata.priority = value.bigUInt32(0)
    default:
      break
    }
  }

  @inline(never)
  private mutating func readVLAN(_ nest: RawSpan) {
    var cursor = 0
    while let attribute = nest.attribute(at: cursor, before: nest.byteCount) {
      if attribute.value.byteCount >= 2 {
        switch attribute.type {
        case 1: metadata.rawVLANProtocol = attribute.value.bigUInt16(0)
        case 2: metadata.rawVLANTCI = attribute.value.bigUInt16(0)
        default: break
        }
      }
      metadata.present.insert(.vlan)
      cursor = min(nest.byteCount, cursor &+ attribute.paddedLength)
    }
  }

  @inline(never)
  private mutating func readConntrack(_ nest: RawSpan) {
    var cursor = 0
    while let attribute = nest.attribute(at: cursor, before: nest.byteCount) {
      if attribute.value.byteCount >= 4 {
        switch attribute.type {
        case 8:  // CTA_MARK
          metadata.rawConntrackMark = attribute.value.bigUInt32(0)
          metadata.present.insert(.conntrackMark)
        case 12:  // CTA_ID
          metadata.rawConntrackID = attribute.value.bigUInt32(0)
          metadata.present.insert(.conntrackID)
        default: break
        }
      }
      cursor = min(nest.byteCount, cursor &+ attribute.paddedLength)
    }
  }
}
