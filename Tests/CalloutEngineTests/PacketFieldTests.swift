// SPDX-License-Identifier: Apache-2.0

import Foundation
import PacketTagging
import PacketViews
import Testing

@testable import CalloutEngine

/// The fields of each layer under WFP's names, in WFP's order.
private let golden = """
  inbound-ippacket: IP_LOCAL_ADDRESS IP_REMOTE_ADDRESS IP_LOCAL_ADDRESS_TYPE IP_LOCAL_INTERFACE \
  INTERFACE_INDEX SUB_INTERFACE_INDEX FLAGS INTERFACE_TYPE TUNNEL_TYPE COMPARTMENT_ID
  outbound-ippacket: IP_LOCAL_ADDRESS IP_LOCAL_ADDRESS_TYPE IP_REMOTE_ADDRESS IP_LOCAL_INTERFACE \
  INTERFACE_INDEX SUB_INTERFACE_INDEX FLAGS INTERFACE_TYPE TUNNEL_TYPE COMPARTMENT_ID
  ipforward: IP_SOURCE_ADDRESS IP_DESTINATION_ADDRESS IP_DESTINATION_ADDRESS_TYPE \
  IP_LOCAL_INTERFACE IP_FORWARD_INTERFACE SOURCE_INTERFACE_INDEX SOURCE_SUB_INTERFACE_INDEX \
  DESTINATION_INTERFACE_INDEX DESTINATION_SUB_INTERFACE_INDEX FLAGS \
  IP_PHYSICAL_ARRIVAL_INTERFACE ARRIVAL_INTERFACE_PROFILE_ID IP_PHYSICAL_NEXTHOP_INTERFACE \
  NEXTHOP_INTERFACE_PROFILE_ID COMPARTMENT_ID
  inbound-transport: IP_PROTOCOL IP_LOCAL_ADDRESS IP_REMOTE_ADDRESS IP_LOCAL_ADDRESS_TYPE \
  IP_LOCAL_PORT IP_REMOTE_PORT IP_LOCAL_INTERFACE INTERFACE_INDEX SUB_INTERFACE_INDEX FLAGS \
  INTERFACE_TYPE TUNNEL_TYPE PROFILE_ID IPSEC_SECURITY_REALM_ID COMPARTMENT_ID
  outbound-transport: IP_PROTOCOL IP_LOCAL_ADDRESS IP_LOCAL_ADDRESS_TYPE IP_REMOTE_ADDRESS \
  IP_LOCAL_PORT IP_REMOTE_PORT IP_LOCAL_INTERFACE INTERFACE_INDEX SUB_INTERFACE_INDEX \
  IP_DESTINATION_ADDRESS_TYPE FLAGS INTERFACE_TYPE TUNNEL_TYPE PROFILE_ID \
  IPSEC_SECURITY_REALM_ID COMPARTMENT_ID
  stream: IP_LOCAL_ADDRESS IP_LOCAL_ADDRESS_TYPE IP_REMOTE_ADDRESS IP_LOCAL_PORT IP_REMOTE_PORT \
  DIRECTION FLAGS COMPARTMENT_ID
  datagram-data: IP_PROTOCOL IP_LOCAL_ADDRESS IP_REMOTE_ADDRESS IP_LOCAL_ADDRESS_TYPE \
  IP_LOCAL_PORT IP_REMOTE_PORT IP_LOCAL_INTERFACE INTERFACE_INDEX SUB_INTERFACE_INDEX DIRECTION \
  FLAGS INTERFACE_TYPE TUNNEL_TYPE COMPARTMENT_ID
  inbound-icmp-error: EMBEDDED_PROTOCOL IP_LOCAL_ADDRESS IP_REMOTE_ADDRESS \
  EMBEDDED_REMOTE_ADDRESS EMBEDDED_LOCAL_ADDRESS_TYPE EMBEDDED_LOCAL_PORT EMBEDDED_REMOTE_PORT \
  IP_LOCAL_INTERFACE ICMP_TYPE ICMP_CODE INTERFACE_INDEX SUB_INTERFACE_INDEX INTERFACE_TYPE \
  TUNNEL_TYPE IP_ARRIVAL_INTERFACE ARRIVAL_INTERFACE_INDEX ARRIVAL_INTERFACE_TYPE \
  ARRIVAL_TUNNEL_TYPE FLAGS ARRIVAL_INTERFACE_PROFILE_ID INTERFACE_QUARANTINE_EPOCH COMPARTMENT_ID
  outbound-icmp-error: IP_LOCAL_ADDRESS IP_REMOTE_ADDRESS IP_LOCAL_ADDRESS_TYPE \
  IP_LOCAL_INTERFACE ICMP_TYPE ICMP_CODE INTERFACE_INDEX SUB_INTERFACE_INDEX INTERFACE_TYPE \
  TUNNEL_TYPE FLAGS NEXTHOP_INTERFACE_PROFILE_ID INTERFACE_QUARANTINE_EPOCH COMPARTMENT_ID
  ale-auth-recv-accept: ALE_APP_ID ALE_USER_ID IP_LOCAL_ADDRESS IP_LOCAL_ADDRESS_TYPE \
  IP_LOCAL_PORT IP_PROTOCOL IP_REMOTE_ADDRESS IP_REMOTE_PORT ALE_REMOTE_USER_ID \
  ALE_REMOTE_MACHINE_ID IP_LOCAL_INTERFACE FLAGS SIO_FIREWALL_SYSTEM_PORT NAP_CONTEXT \
  INTERFACE_TYPE TUNNEL_TYPE INTERFACE_INDEX SUB_INTERFACE_INDEX IP_ARRIVAL_INTERFACE \
  ARRIVAL_INTERFACE_TYPE ARRIVAL_TUNNEL_TYPE ARRIVAL_INTERFACE_INDEX \
  NEXTHOP_SUB_INTERFACE_INDEX IP_NEXTHOP_INTERFACE NEXTHOP_INTERFACE_TYPE NEXTHOP_TUNNEL_TYPE \
  NEXTHOP_INTERFACE_INDEX ORIGINAL_PROFILE_ID CURRENT_PROFILE_ID REAUTHORIZE_REASON \
  ORIGINAL_ICMP_TYPE INTERFACE_QUARANTINE_EPOCH ALE_PACKAGE_ID \
  ALE_SECURITY_ATTRIBUTE_FQBN_VALUE COMPARTMENT_ID BITMAP_IP_LOCAL_ADDRESS BITMAP_IP_LOCAL_PORT \
  BITMAP_IP_REMOTE_ADDRESS BITMAP_IP_REMOTE_PORT
  ale-auth-connect: ALE_APP_ID ALE_USER_ID IP_LOCAL_ADDRESS IP_LOCAL_ADDRESS_TYPE IP_LOCAL_PORT \
  IP_PROTOCOL IP_REMOTE_ADDRESS IP_REMOTE_PORT ALE_REMOTE_USER_ID ALE_REMOTE_MACHINE_ID \
  IP_DESTINATION_ADDRESS_TYPE IP_LOCAL_INTERFACE FLAGS INTERFACE_TYPE TUNNEL_TYPE \
  INTERFACE_INDEX SUB_INTERFACE_INDEX IP_ARRIVAL_INTERFACE ARRIVAL_INTERFACE_TYPE \
  ARRIVAL_TUNNEL_TYPE ARRIVAL_INTERFACE_INDEX NEXTHOP_SUB_INTERFACE_INDEX IP_NEXTHOP_INTERFACE \
  NEXTHOP_INTERFACE_TYPE NEXTHOP_TUNNEL_TYPE NEXTHOP_INTERFACE_INDEX ORIGINAL_PROFILE_ID \
  CURRENT_PROFILE_ID REAUTHORIZE_REASON PEER_NAME ORIGINAL_ICMP_TYPE INTERFACE_QUARANTINE_EPOCH \
  ALE_ORIGINAL_APP_ID ALE_PACKAGE_ID ALE_SECURITY_ATTRIBUTE_FQBN_VALUE ALE_EFFECTIVE_NAME \
  COMPARTMENT_ID BITMAP_IP_LOCAL_ADDRESS BITMAP_IP_LOCAL_PORT BITMAP_IP_REMOTE_ADDRESS \
  BITMAP_IP_REMOTE_PORT
  ale-flow-established: ALE_APP_ID ALE_USER_ID IP_LOCAL_ADDRESS IP_LOCAL_ADDRESS_TYPE \
  IP_LOCAL_PORT IP_PROTOCOL IP_REMOTE_ADDRESS IP_REMOTE_PORT ALE_REMOTE_USER_ID \
  ALE_REMOTE_MACHINE_ID IP_DESTINATION_ADDRESS_TYPE IP_LOCAL_INTERFACE DIRECTION INTERFACE_TYPE \
  TUNNEL_TYPE FLAGS ALE_ORIGINAL_APP_ID ALE_PACKAGE_ID ALE_SECURITY_ATTRIBUTE_FQBN_VALUE \
  COMPARTMENT_ID BITMAP_IP_LOCAL_ADDRESS BITMAP_IP_LOCAL_PORT BITMAP_IP_REMOTE_ADDRESS \
  BITMAP_IP_REMOTE_PORT
  ale-endpoint-closure: ALE_APP_ID ALE_USER_ID IP_LOCAL_ADDRESS IP_LOCAL_ADDRESS_TYPE \
  IP_LOCAL_PORT IP_PROTOCOL IP_REMOTE_ADDRESS IP_REMOTE_PORT IP_LOCAL_INTERFACE FLAGS \
  ALE_PACKAGE_ID ALE_SECURITY_ATTRIBUTE_FQBN_VALUE COMPARTMENT_ID
  """

/// Which fields Linux cannot tell, wherever WFP has them.
private let unavailable: Set<String> = [
  "SUB_INTERFACE_INDEX", "SOURCE_SUB_INTERFACE_INDEX", "DESTINATION_SUB_INTERFACE_INDEX",
  "NEXTHOP_SUB_INTERFACE_INDEX", "PROFILE_ID", "ARRIVAL_INTERFACE_PROFILE_ID",
  "NEXTHOP_INTERFACE_PROFILE_ID", "ORIGINAL_PROFILE_ID", "CURRENT_PROFILE_ID",
  "IPSEC_SECURITY_REALM_ID", "INTERFACE_QUARANTINE_EPOCH", "NAP_CONTEXT",
  "ALE_ORIGINAL_APP_ID", "ALE_USER_ID", "ALE_REMOTE_USER_ID", "ALE_REMOTE_MACHINE_ID",
  "ALE_PACKAGE_ID", "ALE_SECURITY_ATTRIBUTE_FQBN_VALUE", "ALE_EFFECTIVE_NAME", "PEER_NAME",
  "SIO_FIREWALL_SYSTEM_PORT", "REAUTHORIZE_REASON", "ORIGINAL_ICMP_TYPE",
  "BITMAP_IP_LOCAL_ADDRESS", "BITMAP_IP_LOCAL_PORT", "BITMAP_IP_REMOTE_ADDRESS",
  "BITMAP_IP_REMOTE_PORT",
]

/// Not known of flows.
private let ofPackets: Set<String> = [
  "IP_LOCAL_INTERFACE", "INTERFACE_TYPE", "TUNNEL_TYPE", "ALE_APP_ID",
]

@Suite struct PacketFieldTests {
  private let bench = Bench()

  private func upper(_ field: Field) -> String {
    String(field.name.uppercased().map { $0 == "-" ? "_" : $0 })
  }

  /// WFP's type of a field, by its name.
  private func type(_ name: String, isIPv6: Bool) -> FieldDataType? {
    if name.hasPrefix("ALE_") || name.hasPrefix("BITMAP") || name == "PEER_NAME" { return nil }
    if name.hasSuffix("_ADDRESS") { return isIPv6 ? .byteArray16 : .uint32 }
    if name.hasSuffix("_ADDRESS_TYPE") || name.hasSuffix("_PROTOCOL") { return .uint8 }
    if name == "SIO_FIREWALL_SYSTEM_PORT" { return .uint32 }
    if name.hasSuffix("_PORT") || name.contains("ICMP_") { return .uint16 }
    if name.hasSuffix("_INTERFACE") || name.hasSuffix("EPOCH") || name.hasSuffix("REALM_ID") {
      return .uint64
    }
    return .uint32
  }

  @Test func `the fields of the layers of packets have WFP's order and types`() throws {
    var count = 0
    for line in golden.split(separator: "\n") {
      let parts = line.split(separator: ":")
      let names = parts[1].split(separator: " ").map(String.init)
      for suffix in ["-v4", "-v6", "-v4-discard", "-v6-discard"] {
        guard let layer = Layer(name: parts[0] + suffix) else {
          #expect(suffix.hasSuffix("discard"))
          continue
        }
        count += 1
        #expect(layer.fields.map(upper) == names, "\(layer)")
        for field in layer.fields {
          #expect(field.index(at: layer) == names.firstIndex(of: upper(field)))
          guard let type = type(upper(field), isIPv6: layer.isIPv6) else { continue }
          #expect(field.dataType(at: layer) == type, "\(field)")
        }
      }
    }
    #expect(count == Layer.allCases.filter { !$0.indicatesFrames }.count)
    #expect(Field.aleAppID.dataType(at: .aleAuthConnectV4) == .byteBlob)
    #expect(Field.aleUserID.dataType(at: .aleAuthConnectV4) == .securityDescriptor)
  }

  @Test func `the README lists what Linux cannot tell`() throws {
    let path = #filePath.components(separatedBy: "/Tests/")[0] + "/README.md"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let start = try #require(text.range(of: "**Not known of packets.**"))
    let end = try #require(text.range(of: "\n\n", range: start.upperBound..<text.endIndex))
    let list = text[start.upperBound..<end.lowerBound]
    let quoted = list.split(separator: "`", omittingEmptySubsequences: false).enumerated()
      .filter { $0.offset % 2 == 1 }.map { String($0.element) }
    let ours = Set(
      Layer.allCases.filter(\.acceptsFilters).flatMap { layer in
        layer.fields.filter {
          if case .unavailable = $0.availability(at: layer) { true } else { false }
        }
      }.map(\.name))
    #expect(Set(quoted).isSuperset(of: ours), "\(ours.subtracting(quoted))")
    #expect(Set(quoted).allSatisfy { Field(name: $0) != nil })
  }

  @Test func `what Linux cannot tell is refused with the reason`() throws {
    for layer in Layer.allCases where layer.acceptsFilters && !layer.indicatesFrames {
      for field in layer.fields {
        let name = upper(field)
        switch field.availability(at: layer) {
        case .available: #expect(!unavailable.contains(name), "\(field) at \(layer)")
        case .unavailable(let reason):
          let isUnknown =
            unavailable.contains(name) || layer.indicatesFlows && ofPackets.contains(name)
          #expect(isUnknown && !reason.isEmpty, "\(field) at \(layer)")
        case .absent: Issue.record("\(field) at \(layer)")
        }
      }
    }
    let condition = Condition(.subInterfaceIndex, .equal(0))
    let filter = Filter(
      name: "f", layer: .inboundTransportV4, conditions: [condition], action: .permit)
    #expect(
      throws: PolicyError.fieldUnavailable(
        filter: "f", field: "sub-interface-index", layer: "inbound-transport-v4",
        reason: "Linux has no interfaces below interfaces; match interface-index")
    ) { try CompiledPolicy(FilterPolicy(filters: [filter])) }
    #expect(Field.embeddedProtocol.availability(at: .outboundICMPErrorV4) == .absent)
    #expect(Field.etherType.availability(at: .datagramDataV6) == .absent)
    #expect(Field.direction.availability(at: .datagramDataV6) == .available)
  }

  /// The value of a field as the engine sees it; nil if there is none.
  private func value(
    _ field: Field, _ bytes: [UInt8], at layer: Layer, hook: Hook? = nil,
    _ metadata: PacketMetadata = PacketMetadata()
  ) throws -> UInt128? {
    let span = bytes.span.bytes
    let layout = try PacketLayout(parsing: span)
    return ClassifiedPacket(
      bytes: span, layout: layout, layer: layer, metadata: metadata, hook: hook
    ).value(of: field)
  }

  @Test func `address types are WFP's`() throws {
    for (address, type) in [
      ([10, 0, 0, 2], 1), ([224, 0, 0, 1], 3), ([255, 255, 255, 255], 4), ([0, 0, 0, 0], 0),
      ([10, 0, 0, 255], 1),
    ] as [([UInt8], UInt128)] {
      let packet = Make.ipv4(17, to: address)
      #expect(try value(.ipLocalAddressType, packet, at: .inboundTransportV4) == type)
      #expect(try value(.ipLocalAddressType, packet, at: .outboundTransportV4) == 1)
      #expect(try value(.ipDestinationAddressType, packet, at: .outboundTransportV4) == type)
      #expect(try value(.ipDestinationAddressType, packet, at: .ipForwardV4) == type)
    }
    let (one, all) = (Make.address(1 << 48, 1), Make.address(0xff02 << 48, 1))
    let packet = Make.ipv6(17, from: one, to: all)
    #expect(try value(.ipLocalAddressType, packet, at: .inboundIPPacketV6) == 3)
    #expect(try value(.ipLocalAddressType, packet, at: .outboundIPPacketV6) == 1)
  }

  @Test func `interfaces have a LUID, a type and a tunnel type`() throws {
    var metadata = PacketMetadata()
    (metadata.inputDevice, metadata.outputDevice) = (5, 6)
    let packet = Make.ipv4(17)
    #expect(try value(.ipLocalInterface, packet, at: .inboundTransportV4, metadata) == nil)
    #expect(try value(.interfaceType, packet, at: .inboundTransportV4, metadata) == nil)
    (metadata.inputHardware, metadata.outputHardware) = (1, 776)
    let (luid5, luid6): (UInt128, UInt128) = (6 << 48 | 5 << 24, 131 << 48 | 6 << 24)
    #expect(try value(.ipLocalInterface, packet, at: .inboundTransportV4, metadata) == luid5)
    #expect(try value(.ipLocalInterface, packet, at: .outboundTransportV4, metadata) == luid6)
    #expect(try value(.ipLocalInterface, packet, at: .ipForwardV4, metadata) == luid5)
    #expect(try value(.ipForwardInterface, packet, at: .ipForwardV4, metadata) == luid6)
    #expect(
      try value(.ipPhysicalArrivalInterface, packet, at: .ipForwardV4, metadata) == luid5)
    metadata.physicalInputDevice = 9
    #expect(
      try value(.ipPhysicalArrivalInterface, packet, at: .ipForwardV4, metadata)
        == 6 << 48 | 9 << 24)
    #expect(try value(.interfaceType, packet, at: .inboundTransportV4, metadata) == 6)
    #expect(try value(.interfaceType, packet, at: .outboundTransportV4, metadata) == 131)
    #expect(try value(.tunnelType, packet, at: .inboundTransportV4, metadata) == 0)
    #expect(try value(.tunnelType, packet, at: .outboundTransportV4, metadata) == 2)
    #expect(try value(.compartmentID, packet, at: .ipForwardV4, metadata) == 1)
  }

  @Test func `local and remote of a datagram follow its hook, as does its direction`() throws {
    let packet = Make.ipv4(17)
    #expect(try value(.ipLocalPort, packet, at: .datagramDataV4, hook: .input) == 53)
    #expect(try value(.ipLocalPort, packet, at: .datagramDataV4, hook: .output) == 4000)
    #expect(try value(.direction, packet, at: .datagramDataV4, hook: .input) == 1)
    #expect(try value(.direction, packet, at: .datagramDataV4, hook: .output) == 0)
  }

  /// Port unreachable about a packet, of which `length` bytes are quoted.
  private func unreachable(_ quoted: [UInt8], length: Int) -> [UInt8] {
    Make.ipv4(
      1, from: [10, 0, 0, 9], to: [10, 0, 0, 1], source: 3, target: 3,
      data: Array(quoted.prefix(length)))
  }

  @Test func `an inbound ICMP error tells of the packet that it is about`() throws {
    let layer = Layer.inboundICMPErrorV4
    for (number, length) in [(17, 28), (6, 28), (6, 24), (17, 40)] as [(UInt8, Int)] {
      let error = unreachable(Make.ipv4(number), length: length)
      #expect(try value(.embeddedProtocol, error, at: layer) == UInt128(number))
      #expect(try value(.embeddedRemoteAddress, error, at: layer) == 0x0a00_0002)
      #expect(try value(.embeddedLocalAddressType, error, at: layer) == 1)
      #expect(try value(.embeddedLocalPort, error, at: layer) == 4000)
      #expect(try value(.embeddedRemotePort, error, at: layer) == 53)
      #expect(try value(.embeddedProtocol, error, at: .inboundTransportV4) == nil)
      #expect(try value(.icmpType, error, at: layer) == 3)
    }
    for length in [20, 23] {
      let error = unreachable(Make.ipv4(17), length: length)
      #expect(try value(.embeddedProtocol, error, at: layer) == 17)
      #expect(try value(.embeddedLocalPort, error, at: layer) == nil)
    }
    for length in 0..<20 {
      let error = unreachable(Make.ipv4(17), length: length)
      #expect(try value(.embeddedRemoteAddress, error, at: layer) == nil)
      #expect(try value(.embeddedLocalPort, error, at: layer) == nil)
    }
    let echo = unreachable(Make.ipv4(1, source: 8, target: 0), length: 28)
    #expect(try value(.embeddedProtocol, echo, at: layer) == 1)
    #expect(try value(.embeddedLocalPort, echo, at: layer) == nil)
    let (one, two) = (Make.address(1 << 48, 1), Make.address(1 << 48, 2))
    let inner = Make.ipv6(17, from: one, to: two)
    var outer = Make.ipv6(58, from: two, to: one, source: 1, target: 4)
    outer = Array(outer.prefix(48)) + inner
    (outer[4], outer[5]) = (0, UInt8(8 + inner.count))
    #expect(
      try value(.embeddedRemoteAddress, outer, at: .inboundICMPErrorV6) == 1 << 112 | 2)
    #expect(try value(.embeddedRemotePort, outer, at: .inboundICMPErrorV6) == 53)
  }

  private func offset(_ bytes: [UInt8], at layer: Layer, hook: Hook? = nil) throws -> Int {
    let span = bytes.span.bytes
    let layout = try PacketLayout(parsing: span)
    return ClassifiedPacket(
      bytes: span, layout: layout, layer: layer, metadata: PacketMetadata(), hook: hook
    ).dataOffset
  }

  @Test func `F32: each layer's packets begin where WFP's do`() throws {
    let (datagram, echo) = (Make.ipv4(17), Make.ipv4(1, source: 8, target: 0))
    let error = unreachable(datagram, length: 28)
    #expect(try offset(datagram, at: .inboundIPPacketV4) == 20)
    #expect(try offset(datagram, at: .outboundIPPacketV4) == 0)
    #expect(try offset(datagram, at: .ipForwardV4) == 0)
    #expect(try offset(datagram, at: .ipForwardV4Discard, hook: .forward) == 0)
    #expect(try offset(datagram, at: .inboundTransportV4) == 28)
    #expect(try offset(Make.ipv4(6), at: .inboundTransportV4) == 40)
    #expect(try offset(echo, at: .inboundTransportV4) == 20)
    #expect(try offset(error, at: .inboundTransportV4) == 20)
    #expect(try offset(datagram, at: .outboundTransportV4) == 20)
    #expect(try offset(datagram, at: .datagramDataV4, hook: .input) == 28)
    #expect(try offset(datagram, at: .datagramDataV4, hook: .output) == 20)
    #expect(try offset(echo, at: .datagramDataV4, hook: .input) == 20)
    #expect(try offset(error, at: .inboundICMPErrorV4) == 28)
    #expect(try offset(error, at: .outboundICMPErrorV4) == 20)
    let later = Make.ipv4(17, offset: 8)
    #expect(try offset(later, at: .inboundIPPacketV4) == 20)
  }

  @Test func `metadata is there where WFP gives it`() throws {
    func fields(_ bytes: [UInt8], _ layer: Layer, hook: Hook? = nil) throws -> MetadataFields {
      let span = bytes.span.bytes
      let layout = try PacketLayout(parsing: span)
      return ClassifiedPacket(
        bytes: span, layout: layout, layer: layer, metadata: PacketMetadata(), hook: hook
      ).metadataFields
    }
    let (datagram, echo) = (Make.ipv4(17), Make.ipv4(1, source: 8, target: 0))
    let both: MetadataFields = [.compartmentID, .packetDirection]
    #expect(try fields(datagram, .ipForwardV4) == .compartmentID)
    #expect(try fields(datagram, .inboundIPPacketV4) == [both, .ipHeaderSize])
    #expect(
      try fields(Make.ipv4(17, offset: 8), .inboundIPPacketV4)
        == [both, .ipHeaderSize, .fragmentData])
    #expect(
      try fields(datagram, .outboundIPPacketV4) == [both, .ipHeaderSize, .transportHeaderSize])
    #expect(
      try fields(echo, .inboundTransportV4)
        == [both, .ipHeaderSize, .transportHeaderSize, .icmpIDAndSequence])
    #expect(
      try fields(echo, .outboundTransportV4) == [both, .transportHeaderSize, .icmpIDAndSequence])
    #expect(try fields(datagram, .datagramDataV4, hook: .input) == both)
  }

  @Test func `nothing can be decided at discard layers`() throws {
    for action in [FilterAction.permit, .block, .calloutTerminating("c"), .calloutUnknown("c")] {
      let filter = Filter(name: "f", layer: .inboundTransportV4Discard, action: action)
      #expect(
        throws: PolicyError.inspectionOnly(filter: "f", layer: "inbound-transport-v4-discard")
      ) { try CompiledPolicy(FilterPolicy(filters: [filter])) }
    }
    let flows = Filter(name: "f", layer: .aleFlowEstablishedV4, action: .block)
    #expect(throws: PolicyError.inspectionOnly(filter: "f", layer: flows.layer.name)) {
      try CompiledPolicy(FilterPolicy(filters: [flows]))
    }
    let stream = Filter(name: "f", layer: .streamV4, action: .permit)
    #expect(throws: PolicyError.layerHasNoPackets(filter: "f", layer: "stream-v4")) {
      try CompiledPolicy(FilterPolicy(filters: [stream]))
    }
  }
}
