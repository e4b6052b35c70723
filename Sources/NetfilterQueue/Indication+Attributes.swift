// SPDX-License-Identifier: Apache-2.0

internal import CNetfilter

extension Indication {
  /// Takes in one attribute whose value is the `length` bytes at `at`, all inside `bytes`.
  mutating func read(_ type: UInt16, _ bytes: RawSpan, _ at: Int, _ length: Int) {
    switch UInt32(type) {
    case NFQA_PAYLOAD.rawValue:
      payloadOffset = at
      payloadLength = length
    case NFQA_MARK.rawValue where length >= 4:
      mark = bytes.bigUInt32(at)
    case NFQA_IFINDEX_INDEV.rawValue where length >= 4:
      inputDevice = bytes.bigUInt32(at)
    case NFQA_IFINDEX_OUTDEV.rawValue where length >= 4:
      outputDevice = bytes.bigUInt32(at)
    case NFQA_IFINDEX_PHYSINDEV.rawValue where length >= 4:
      physicalInputDevice = bytes.bigUInt32(at)
    case NFQA_IFINDEX_PHYSOUTDEV.rawValue where length >= 4:
      physicalOutputDevice = bytes.bigUInt32(at)
    case NFQA_CAP_LEN.rawValue where length >= 4:
      originalLength = bytes.bigUInt32(at)
      attributes.insert(.truncated)
    case NFQA_SKB_INFO.rawValue where length >= 4:
      bufferState = BufferState(rawValue: bytes.bigUInt32(at))
    case NFQA_UID.rawValue where length >= 4:
      userID = bytes.bigUInt32(at)
      attributes.insert(.userID)
    case NFQA_GID.rawValue where length >= 4:
      groupID = bytes.bigUInt32(at)
      attributes.insert(.groupID)
    case NFQA_TIMESTAMP.rawValue where length >= 16:
      timestamp = bytes.bigUInt64(at) &* 1_000_000 &+ bytes.bigUInt64(at &+ 8)
      attributes.insert(.timestamp)
    case NFQA_HWADDR.rawValue where length >= 12:
      hardwareAddressLength = UInt8(min(8, bytes.bigUInt16(at)))
      hardwareAddress = bytes.hostUInt64(at &+ 4)
      attributes.insert(.hardwareAddress)
    case NFQA_CT_INFO.rawValue where length >= 4:
      conntrackState = bytes.bigUInt32(at)
      attributes.insert(.conntrackState)
    case NFQA_CT.rawValue:
      readConntrack(bytes, at, at &+ length)
    case UInt32(CNF_ATTRIBUTE_VLAN):
      readVLAN(bytes, at, at &+ length)
    case UInt32(CNF_ATTRIBUTE_L2HDR):
      linkHeaderOffset = at
      linkHeaderLength = length
      attributes.insert(.linkHeader)
    case UInt32(CNF_ATTRIBUTE_PRIORITY) where length >= 4:
      priority = bytes.bigUInt32(at)
      attributes.insert(.priority)
    default:
      break
    }
  }

  private mutating func readVLAN(_ bytes: RawSpan, _ start: Int, _ end: Int) {
    var cursor = start
    while let attribute = bytes.attribute(cursor, end) {
      if attribute.length >= 2 {
        switch attribute.type {
        case 1: vlanProtocol = bytes.bigUInt16(attribute.at)
        case 2: vlanTCI = bytes.bigUInt16(attribute.at)
        default: break
        }
      }
      attributes.insert(.vlan)
      cursor = attribute.next
    }
  }

  private mutating func readConntrack(_ bytes: RawSpan, _ start: Int, _ end: Int) {
    var cursor = start
    while let attribute = bytes.attribute(cursor, end) {
      if attribute.length >= 4 {
        switch attribute.type {
        case 8:  // CTA_MARK
          conntrackMark = bytes.bigUInt32(attribute.at)
          attributes.insert(.conntrackMark)
        case 12:  // CTA_ID
          conntrackID = bytes.bigUInt32(attribute.at)
          attributes.insert(.conntrackID)
        default: break
        }
      }
      cursor = attribute.next
    }
  }
}
