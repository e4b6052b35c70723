// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct FrameMetadataTests {
  let bench = Bench()

  @Test func `F31: ethernetMACHeaderSize is there at the inbound Ethernet layer only`() throws {
    let tagged = MakeFrame.ethernet(tags: [VLANTag(.vlan, control: 100)])
    for layer in Layer.frameLayers {
      for (bytes, expected) in [(MakeFrame.ethernet(), 14), (tagged, 18)] {
        var found: Int?
        var bits: L2Metadata = []
        try bench.withFrame(bytes, at: layer) { frame, _ in
          (found, bits) = (frame.ethernetMACHeaderSize, frame.l2Metadata)
        }
        let isThere = layer == .inboundMACFrameEthernet
        #expect(found == (isThere ? expected : nil), "\(layer)")
        #expect(bits.contains(.ethernetMACHeaderSize) == isThere)
      }
    }
    #expect(L2Metadata.ethernetMACHeaderSize.rawValue == 1)
  }

  @Test func `F32: each layer's data begins where WFP's does`() throws {
    let snap: [UInt8] = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0]
    let packet = Make.ipv4(17)
    for (bytes, offset) in [
      (MakeFrame.ethernet(), 14),
      (MakeFrame.ethernet(tags: [VLANTag(.vlan, control: 5)]), 18),
      (MakeFrame.ethernet(type: UInt16(8 + packet.count), snap + packet), 22),
    ] {
      for layer in Layer.frameLayers {
        var (data, whole): ([UInt8], [UInt8]) = ([], [])
        try bench.withFrame(bytes, at: layer) { frame, _ in
          data = copy(frame.data)
          whole = copy(frame.bytes)
        }
        #expect(whole == bytes)
        #expect(
          data == (layer == .inboundMACFrameEthernet ? Array(bytes[offset...]) : bytes), "\(layer)")
      }
    }
  }

  @Test func `the network header is found whatever the layer`() throws {
    for layer in Layer.frameLayers {
      var (network, header): ([UInt8], [UInt8]) = ([], [])
      try bench.withFrame(at: layer) { frame, _ in
        network = copy(frame.network)
        header = copy(frame.macHeader)
      }
      #expect(network == Make.ipv4(17) && header == Array(MakeFrame.ethernet()[..<14]))
    }
  }

  @Test func `a frame without a MAC header begins with IP`() throws {
    var metadata = FrameMetadata()
    metadata.hardwareType = .none
    var (data, flags, size): ([UInt8], L2IncomingFlags, Int?) = ([], [], 1)
    let bytes = Make.ipv4(17)
    try bench.withFrame(bytes, at: .inboundMACFrameNative, isRawIP: true, metadata: metadata) {
      frame, _ in
      (data, flags) = (copy(frame.data), frame.l2IncomingFlags)
      size = frame.ethernetMACHeaderSize
    }
    #expect(data == bytes && flags == .isRawIPv4Framing && size == nil)
  }

  @Test func `ports are there on bridges only, and the second at egress only`() throws {
    var metadata = FrameMetadata()
    (metadata.sourcePort, metadata.destinationPort) = (4, 5)
    metadata.isFurtherCopy = true
    for layer in Layer.frameLayers {
      var ports: [UInt32?] = []
      var (bits, flags): (L2Metadata, L2IncomingFlags) = ([], [])
      try bench.withFrame(at: layer, metadata: metadata) { frame, _ in
        ports = [frame.vSwitchSourcePort, frame.vSwitchDestinationPort]
        (bits, flags) = (frame.l2Metadata, frame.l2IncomingFlags)
      }
      let isSwitch = layer.medium == .virtualSwitch
      let isEgress = layer == .egressVSwitchEthernet
      #expect(ports == [isSwitch ? 4 : nil, isEgress ? 5 : nil], "\(layer)")
      #expect(bits.contains([.vSwitchSourcePort, .vSwitchSourceNICIndex]) == isSwitch)
      #expect(bits.contains(.vSwitchDestinationPort) == isEgress)
      #expect(flags == (isSwitch ? .reclassifyMultiDestination : []))
    }
  }

  @Test func `what a device's frames begin with follows from its type`() {
    for (type, isEthernet, isRawIP) in [
      (.ethernet, true, false), (.loopback, true, false), (.none, false, true),
      (.rawIP, false, true), (.gre, false, true), (.infiniBand, false, false),
      (.ieee80211, false, false),
    ] as [(HardwareType, Bool, Bool)] {
      #expect(type.hasEthernetHeader == isEthernet && type.isRawIP == isRawIP)
      let bytes = isEthernet ? MakeFrame.ethernet() : Make.ipv4(17)
      let found = FrameLayout(parsing: bytes.span.packetBytes, of: type)
      #expect(found.etherType == .ipv4 && found.hasAddresses == isEthernet)
    }
  }

  @Test func `what is unfinished moves with the header`() {
    var offload = FrameOffload()
    #expect(offload.shifted(by: 4) == offload)
    offload.flags = 1
    (offload.checksumStart, offload.headerLength) = (34, 54)
    #expect(offload.shifted(by: 4).checksumStart == 38 && offload.shifted(by: 4).headerLength == 54)
    offload.segmentation = 1
    #expect(
      offload.shifted(by: -4).headerLength == 50 && offload.shifted(by: -4).checksumStart == 30)
    offload.checksumStart = 2
    #expect(offload.shifted(by: -4).checksumStart == 0)
  }
}

/// The bytes as an array.
func copy(_ span: RawSpan) -> [UInt8] { (0..<span.byteCount).map { span.byte(at: $0) } }
