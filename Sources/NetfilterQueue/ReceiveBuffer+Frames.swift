// SPDX-License-Identifier: Apache-2.0

internal import PacketViews

extension ReceiveBuffer {
  /// Puts a bridged frame together in its datagram: its MAC header, with the VLAN tag that the kernel
  /// keeps beside it in its place, goes right before the payload.
  ///
  /// What else the datagram said before the payload is overwritten. Returns where the frame begins
  /// and how long it is, nil if the kernel gave no MAC header.
  public mutating func joinFrame(
    _ index: Int, _ indication: Indication
  ) -> (offset: Int, length: Int)? {
    let tagLength = indication.metadata.vlanProtocol == nil ? 0 : 4
    let head = BridgedHeader.length + tagLength
    let start = indication.payloadOffset - head
    let (low, high, type): (UInt64, UInt32, UInt16)
    do {
      let bytes = datagram(index)
      guard indication.linkHeaderLength >= BridgedHeader.length, indication.linkHeaderOffset > 0,
        indication.linkHeaderOffset <= bytes.byteCount - BridgedHeader.length, start >= 0,
        indication.payloadLength <= bytes.byteCount - indication.payloadOffset
      else { return nil }
      // Read as a whole first: the header may lie where it is to be written.
      low = bytes.hostUInt64(indication.linkHeaderOffset)
      high = bytes.hostUInt32(indication.linkHeaderOffset + 8)
      type = bytes.hostUInt16(indication.linkHeaderOffset + 12)
    }
    write(low, index, start)
    write(high, index, start + 8)
    if let name = indication.metadata.vlanProtocol {
      write(name.bigEndian, index, start + 12)
      write((indication.metadata.vlanTCI ?? 0).bigEndian, index, start + 14)
    }
    write(type, index, indication.payloadOffset - 2)
    return (start, head + indication.payloadLength)
  }
}
