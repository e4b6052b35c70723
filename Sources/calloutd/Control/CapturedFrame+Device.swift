// SPDX-License-Identifier: Apache-2.0

internal import CalloutControl
internal import CaptureFiles
internal import LinkLayer
internal import PacketViews

extension CapturedFrame {
  /// Why a device cannot carry it, nil if it can.
  func problem(at device: LinkDevice) -> (code: ControlFailure.Code, message: String)? {
    let isRawIP = device.medium == .rawIP
    let header = isRawIP ? Form.ip : .ethernet
    if let form, form != header {
      return (
        .wrongFrame,
        "the frame begins with \(form.header), those of \(device.name) with \(header.header)"
      )
    }
    let layout = layout(isRawIP)
    let isWhole =
      isRawIP ? layout.etherType == .ipv4 || layout.etherType == .ipv6 : layout.hasAddresses
    guard isWhole else {
      return (
        .wrongFrame, "the frame of \(bytes.count) bytes does not begin with \(header.header)"
      )
    }
    let longest = Int(device.mtu) + (isRawIP ? 0 : 14 + 4 * layout.tagCount)
    guard bytes.count <= longest else {
      return (
        .frameTooLong,
        "the frame has \(bytes.count) bytes, \(device.name) takes \(longest) of its kind; raise its "
          + "mtu of \(device.mtu), or give a shorter frame"
      )
    }
    return nil
  }

  private func layout(_ isRawIP: Bool) -> FrameLayout {
    let span = bytes.span.packetBytes
    return isRawIP ? FrameLayout(parsingRawIP: span) : FrameLayout(parsing: span)
  }
}

extension CapturedFrame.Form {
  /// Its header, in messages.
  fileprivate var header: String {
    switch self {
    case .ethernet: "an Ethernet header"
    case .ip: "an IP header"
    }
  }
}
