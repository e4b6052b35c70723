// SPDX-License-Identifier: Apache-2.0

import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

@Suite struct FrameFieldTests {
  let bench = Bench()

  /// The value of a field as the engine sees it; nil if there is none.
  func value(
    _ field: Field, _ bytes: [UInt8] = MakeFrame.ethernet(),
    at layer: Layer = .inboundMACFrameEthernet, isRawIP: Bool = false,
    metadata: FrameMetadata = FrameMetadata()
  ) throws -> UInt128? {
    var found: UInt128?
    try bench.withFrame(bytes, at: layer, isRawIP: isRawIP, metadata: metadata) { frame, _ in
      found = frame.value(of: field)
    }
    return found
  }

  @Test func `F25: the fields of the Ethernet layers have WFP's order and types`() {
    let expected: [(Field, FieldDataType)] = [
      (.interfaceMACAddress, .byteArray6), (.macLocalAddress, .byteArray6),
      (.macRemoteAddress, .byteArray6), (.macLocalAddressType, .uint8),
      (.macRemoteAddressType, .uint8), (.etherType, .uint16), (.vlanID, .uint16),
      (.interface, .uint64), (.interfaceIndex, .uint32), (.ndisPort, .uint32), (.l2Flags, .uint32),
      (.compartmentID, .uint32),
    ]
    for layer in [Layer.inboundMACFrameEthernet, .outboundMACFrameEthernet] {
      #expect(layer.frameFields.count == expected.count)
      for (index, (field, type)) in expected.enumerated() {
        #expect(field.index(at: layer) == index && field.dataType(at: layer) == type, "\(field)")
      }
    }
  }

  @Test func `F26: the fields of the native layers have WFP's order and types`() {
    let expected: [(Field, FieldDataType)] = [
      (.ndisMediaType, .uint32), (.ndisPhysicalMediaType, .uint32), (.interface, .uint64),
      (.interfaceType, .uint32), (.interfaceIndex, .uint32), (.ndisPort, .uint32),
      (.l2Flags, .uint32), (.compartmentID, .uint32),
    ]
    for layer in [Layer.inboundMACFrameNative, .outboundMACFrameNative] {
      #expect(layer.frameFields.count == expected.count)
      for (index, (field, type)) in expected.enumerated() {
        #expect(field.index(at: layer) == index && field.dataType(at: layer) == type, "\(field)")
      }
    }
  }

  @Test func `the fields of the bridge layers have WFP's order`() {
    let names = [
      "mac-source-address", "mac-source-address-type", "mac-destination-address",
      "mac-destination-address-type", "ether-type", "vlan-id", "vswitch-tenant-network-id",
      "vswitch-id", "vswitch-network-type", "vswitch-source-interface-id",
      "vswitch-source-interface-type", "vswitch-source-vm-id",
    ]
    #expect(
      Layer.ingressVSwitchEthernet.frameFields.map(\.name) == names + [
        "l2-flags", "compartment-id",
      ])
    #expect(
      Layer.egressVSwitchEthernet.frameFields.map(\.name) == names + [
        "vswitch-destination-interface-id", "vswitch-destination-interface-type",
        "vswitch-destination-vm-id", "l2-flags", "compartment-id",
      ])
    #expect(Field.vSwitchID.dataType(at: .ingressVSwitchEthernet) == .byteBlob)
  }

  @Test func `data types have WFP's numbers`() {
    #expect(
      [
        FieldDataType.uint8, .uint16, .uint32, .uint64, .byteArray16, .byteBlob, .byteArray6,
      ].map(\.rawValue) == [1, 2, 3, 4, 11, 12, 18])
    #expect(Field.ipLocalAddress.dataType(at: .inboundIPPacketV4) == .uint32)
    #expect(Field.ipLocalAddress.dataType(at: .inboundIPPacketV6) == .byteArray16)
    #expect(Field.icmpType.dataType(at: .inboundIPPacketV4) == .uint16)
  }

  @Test func `F25: local and remote swap with the direction`() throws {
    let (one, two) = (UInt128(MakeFrame.one.rawValue), UInt128(MakeFrame.two.rawValue))
    for (layer, local, remote) in [
      (.inboundMACFrameEthernet, two, one), (.outboundMACFrameEthernet, one, two),
    ] as [(Layer, UInt128, UInt128)] {
      #expect(try value(.macLocalAddress, at: layer) == local)
      #expect(try value(.macRemoteAddress, at: layer) == remote)
    }
    for layer in [Layer.ingressVSwitchEthernet, .egressVSwitchEthernet] {
      #expect(try value(.macSourceAddress, at: layer) == one)
      #expect(try value(.macDestinationAddress, at: layer) == two)
    }
  }

  @Test func `F27: unicast, multicast and broadcast are 0, 1 and 2`() throws {
    for (address, expected) in [
      (0xffff_ffff_ffff, 2), (0x0100_5e00_0001, 1), (0x0200_0000_0002, 0),
    ] as [(UInt64, UInt128)] {
      let bytes = MakeFrame.ethernet(to: MACAddress(rawValue: address))
      #expect(try value(.macLocalAddressType, bytes) == expected)
      #expect(try value(.macRemoteAddressType, bytes) == 0)
      #expect(try value(.macRemoteAddressType, bytes, at: .outboundMACFrameEthernet) == expected)
      #expect(
        try value(.macDestinationAddressType, bytes, at: .egressVSwitchEthernet) == expected)
    }
  }

  @Test func `F28: VLAN_ID is the whole control information of the outer tag, 0 without one`()
    throws
  {
    let tag = VLANTag(.vlan, control: 0xa064)
    #expect(try value(.vlanID, MakeFrame.ethernet(tags: [tag])) == 0xa064)
    let outer = VLANTag(.serviceVLAN, control: 0x2001)
    #expect(try value(.vlanID, MakeFrame.ethernet(tags: [outer, tag])) == 0x2001)
    #expect(try value(.vlanID) == 0)
  }

  @Test func `F29: ETHER_TYPE is the one behind the tags`() throws {
    #expect(try value(.etherType, MakeFrame.arp()) == 0x0806)
    let tag = VLANTag(.vlan, control: 100)
    #expect(try value(.etherType, MakeFrame.arp(tags: [tag])) == 0x0806)
    #expect(try value(.etherType, MakeFrame.ethernet(type: 38, [0x42, 0x42, 3])) == 38)
  }

  @Test func `F30: L2_FLAGS say what the interface is and whether the frame is malformed`() throws {
    let whole = MakeFrame.ethernet()
    #expect(try value(.l2Flags) == 0x01)
    #expect(try value(.l2Flags, Array(whole[..<13])) == 0x21)
    #expect(try value(.l2Flags, Array(whole[..<20])) == 0x21)
    var metadata = FrameMetadata()
    metadata.hasConnector = true
    #expect(try value(.l2Flags, metadata: metadata) == 0x81)
    metadata.isWireless = true
    #expect(try value(.l2Flags, metadata: metadata) == 0x82)
    metadata = FrameMetadata()
    metadata.hardwareType = .rawIP
    #expect(
      try value(
        .l2Flags, Make.ipv4(17), at: .inboundMACFrameNative, isRawIP: true,
        metadata: metadata) == 0x04)
    metadata = FrameMetadata()
    metadata.isVMToVM = true
    #expect(try value(.l2Flags, at: .egressVSwitchEthernet, metadata: metadata) == 0x11)
    #expect(try value(.l2Flags, metadata: metadata) == 0x01)
    #expect(L2Flags.names.map(\.flag.rawValue) == (0..<8).map { 1 << $0 })
  }

  @Test func `the interface has an index, a LUID, an address and a type`() throws {
    var metadata = FrameMetadata()
    metadata.interfaceIndex = 7
    metadata.interfaceAddress = MakeFrame.two
    #expect(try value(.interfaceIndex, metadata: metadata) == 7)
    #expect(try value(.interface, metadata: metadata) == 6 << 48 | 7 << 24)
    #expect(
      try value(.interfaceMACAddress, metadata: metadata) == UInt128(MakeFrame.two.rawValue))
    #expect(try value(.interfaceIndex) == nil && value(.interface) == nil)
    #expect(try value(.interfaceMACAddress) == nil)
    for (type, interface, media) in [
      (.ethernet, 6, 0), (.loopback, 24, 17), (.none, 53, 19), (.ieee80211, 71, 16),
      (.tunnel, 131, 15),
    ] as [(HardwareType, UInt128, UInt128)] {
      metadata.hardwareType = type
      #expect(
        try value(.interfaceType, at: .inboundMACFrameNative, metadata: metadata) == interface)
      #expect(try value(.ndisMediaType, at: .inboundMACFrameNative, metadata: metadata) == media)
    }
    #expect(try value(.ndisPort) == 0 && value(.compartmentID) == 1)
  }

  @Test func `what a frame has no value for never matches`() throws {
    let cut = [UInt8](repeating: 1, count: 13)
    for field in [Field.macLocalAddress, .macRemoteAddressType, .etherType, .vlanID] {
      #expect(try value(field, cut) == nil, "\(field)")
    }
    #expect(try value(.macLocalAddress, Make.ipv4(17), isRawIP: true) == nil)
    #expect(try value(.etherType, Make.ipv4(17), isRawIP: true) == 0x0800)
    for field in [
      Field.vSwitchID, .vSwitchSourceVMID, .vSwitchTenantNetworkID, .ipProtocol,
      .vSwitchNetworkType, .vSwitchSourceInterfaceType,
    ] {
      #expect(try value(field, at: .ingressVSwitchEthernet) == nil, "\(field)")
    }
    var metadata = FrameMetadata()
    (metadata.bridgeIndex, metadata.sourcePort, metadata.destinationPort) = (3, 4, 5)
    (metadata.sourcePortType, metadata.destinationPortType) = (.external, .synthetic)
    metadata.networkType = .external
    for (field, expected) in [
      (.vSwitchNetworkType, 3), (.vSwitchSourceInterfaceType, 0),
      (.vSwitchDestinationInterfaceType, 1),
      (.vSwitchID, 3), (.vSwitchSourceInterfaceID, 4), (.vSwitchDestinationInterfaceID, 5),
    ] as [(Field, UInt128)] {
      #expect(try value(field, at: .egressVSwitchEthernet, metadata: metadata) == expected)
    }
  }

  @Test func `fields are there at the layers that have them`() {
    for layer in Layer.frameLayers {
      for field in Field.allCases {
        #expect(field.isAvailable(at: layer) == layer.frameFields.contains(field))
      }
    }
    for layer in Layer.allCases where !layer.indicatesFrames {
      #expect(!Field.etherType.isAvailable(at: layer) && !Field.l2Flags.isAvailable(at: layer))
    }
    #expect(throws: PolicyError.self) {
      try bench.adoptFrames([
        filter(
          .permit, [Condition(.ipProtocol, .equal(17))], layer: .inboundMACFrameEthernet)
      ])
    }
    let expected = PolicyError.fieldNotAtLayer(
      filter: "f", field: "ether-type", layer: "inbound-mac-frame-native", instead: nil)
    #expect(throws: expected) {
      try bench.adoptFrames([
        filter(.permit, [Condition(.etherType, .equal(1))], layer: .inboundMACFrameNative)
      ])
    }
  }
}

@Suite struct FrameConditionTests {
  let bench = Bench()

  func matches(_ condition: Condition, _ bytes: [UInt8] = MakeFrame.ethernet()) throws -> Bool {
    try bench.adoptFrames([filter(.block, [condition], layer: .inboundMACFrameEthernet)])
    return try bench.decideFrame(bytes).text == "block"
  }

  @Test func `Ethernet addresses are compared whole, in ranges and by their beginnings`() throws {
    #expect(try matches(Condition(.macRemoteAddress, equals: MakeFrame.one)))
    #expect(try !matches(Condition(.macRemoteAddress, equals: MakeFrame.two)))
    #expect(
      try matches(Condition(.macRemoteAddress, .range(0x0200_0000_0000, 0x0200_0000_0001))))
    #expect(
      try !matches(Condition(.macRemoteAddress, .range(0x0200_0000_0002, 0x0200_0000_0009))))
    for length in 0...48 {
      #expect(
        try matches(Condition(.macRemoteAddress, within: MakeFrame.one, length: length)))
      guard length > 0 else { continue }
      let flipped = MACAddress(rawValue: MakeFrame.one.rawValue ^ 1 << UInt64(48 - length))
      #expect(try !matches(Condition(.macRemoteAddress, within: flipped, length: length)))
    }
  }

  @Test func `a VLAN is found under any priority by a mask`() throws {
    let vlan = Condition(.vlanID, .masked(100, mask: 0xfff))
    for (control, expected) in [(100, true), (0xa064, true), (0xa065, false)] as [(UInt16, Bool)] {
      let tag = VLANTag(.vlan, control: control)
      #expect(try matches(vlan, MakeFrame.ethernet(tags: [tag])) == expected)
    }
    #expect(try !matches(vlan))
  }

  @Test func `a value that is not of the field's type is refused`() throws {
    let prefix = Condition.Match.prefix(try #require(IPPrefix("10.0.0.0/8")))
    for condition in [
      Condition(.macLocalAddress, .equal(1 << 48)), Condition(.macLocalAddress, prefix),
      Condition(.macLocalAddress, .flagsAllSet(1)), Condition(.etherType, .equal(0x1_0000)),
      Condition(.vlanID, .masked(1, mask: 0x1_0000)), Condition(.vlanID, .masked(2, mask: 1)),
    ] {
      #expect(throws: PolicyError.self, "\(condition)") { try matches(condition) }
    }
  }

  @Test func `masks count for automatic weights`() {
    let weights = [0, 24, 48].map { length in
      filter(
        .permit, [Condition(.macLocalAddress, within: MakeFrame.one, length: length)],
        layer: .inboundMACFrameEthernet
      ).effectiveWeight
    }
    #expect(weights == weights.sorted() && Set(weights).count == 3)
  }
}
