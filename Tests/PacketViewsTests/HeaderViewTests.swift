// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

struct HeaderViewTests {
  @Test func `stacked VLAN tags are read from the outside in`() throws {
    let bytes = Captures.stackedFrame
    let frame = try EthernetHeader(bytes.span.packetBytes)
    let (count, type, length) = (frame.tagCount, frame.etherType, frame.headerLength)
    let (source, destination) = (frame.source.description, frame.destination)
    let (outer, inner, none) = (frame.vlanTag(at: 0), frame.vlanTag(at: 1), frame.vlanTag(at: 2))
    let address = try IPv4Header(frame.payload).sourceAddress
    #expect(count == 2 && type == .ipv4 && length == 22)
    #expect(source == "02:00:00:00:00:01")
    #expect(destination == MACAddress("02:00:00:00:00:02"))
    #expect(outer?.tagProtocol == .serviceVLAN && outer?.identifier == 100 && outer?.priority == 5)
    #expect(inner?.tagProtocol == .vlan && inner?.identifier == 4094)
    #expect(inner?.isDropEligible == true && outer?.isDropEligible == false)
    #expect(none == nil)
    #expect(address == IPAddress("10.0.0.1"))
  }

  @Test func `an ARP request is read`() throws {
    let bytes = Captures.arpFrame
    let frame = try EthernetHeader(bytes.span.packetBytes)
    let arp = try ARPPacket(frame.payload)
    let (isRequest, isReply) = (arp.isRequest, arp.isReply)
    let (sender, target) = (arp.senderAddress, arp.targetAddress)
    let (hardware, isBroadcast) = (arp.senderHardwareAddress, frame.destination.isBroadcast)
    #expect(isRequest && !isReply && isBroadcast)
    #expect(sender == IPAddress("10.0.0.1") && target == IPAddress("10.0.0.2"))
    #expect(hardware == MACAddress("02:00:00:00:00:01"))
  }

  @Test func `too many VLAN tags and foreign ARP are refused`() {
    var tags = [UInt8](repeating: 0, count: 12)
    for _ in 0..<9 { tags += [0x81, 0, 0, 1] }
    let tower = tags + [8, 0]
    #expect(throws: MalformedPacket.tooManyVLANTags) {
      _ = try EthernetHeader(tower.span.packetBytes).tagCount
    }
    let foreign = [UInt8](repeating: 0, count: 28)
    #expect(throws: MalformedPacket.unsupportedARP) {
      _ = try ARPPacket(foreign.span.packetBytes).operation
    }
  }

  @Test func `IPv4 options are walked`() throws {
    let bytes = Captures.options4
    let header = try IPv4Header(bytes.span.packetBytes)
    var options = header.options
    var kinds: [UInt8] = []
    while let option = options.next() { kinds.append(option.kind) }
    let isRouted = header.isSourceRouted
    #expect(kinds == [7])
    #expect(!isRouted)
    let routedBytes = Captures.sourceRoute4
    let routed = try IPv4Header(routedBytes.span.packetBytes).isSourceRouted
    #expect(routed)
  }

  @Test func `TCP options are walked`() throws {
    let bytes = Captures.tcp4
    let header = try TCPHeader(try IPv4Header(bytes.span.packetBytes).payload)
    var options = header.options
    var found: [UInt8: UInt64] = [:]
    while let option = options.next() {
      var value: UInt64 = 0
      for index in 0..<option.value.byteCount {
        value = value << 8 | UInt64(option.value.byte(at: index))
      }
      found[option.kind] = value
    }
    let (window, sequence, flags, payload) = (
      header.window, header.sequenceNumber, header.flags, header.payload.byteCount
    )
    #expect(found == [2: 1460, 3: 7, 4: 0, 8: 0x1_0000_0002])
    #expect(window == 65535 && sequence == 1 && flags == [.syn, .ack] && payload == 43)
  }

  @Test(arguments: [[2, 0], [2, 1], [2, 9, 1], [1, 1, 5]] as [[UInt8]])
  func `an option of impossible length ends the walk`(bytes: [UInt8]) {
    var options = HeaderOptions(bytes.span.packetBytes)
    var count = 0
    while let _ = options.next() { count += 1 }
    let isMalformed = options.isMalformed
    #expect(count == 0 && isMalformed)
  }

  @Test func `extension headers are walked in order`() throws {
    let bytes = Captures.extensions6
    let header = try IPv6Header(bytes.span.packetBytes)
    var walk = header.extensionHeaders
    var types: [IPProtocol] = []
    while let next = try walk.next() { types.append(next.type) }
    let (last, offset) = (walk.protocolNumber, walk.offset)
    #expect(types == [.hopByHop, .destinationOptions])
    #expect(last == .tcp && offset == 56)
  }

  @Test func `the fields of IPv6, UDP and ICMP are read`() throws {
    let bytes = Captures.udp6
    let header = try IPv6Header(bytes.span.packetBytes)
    let (dscp, ecn, label, hops) = (header.dscp, header.ecn, header.flowLabel, header.hopLimit)
    let udp = try UDPHeader(header.payload)
    let (length, port, rest) = (udp.length, udp.destinationPort, udp.payload.byteCount)
    #expect(dscp == 46 && ecn == 1 && label == 0x12345 && hops == 64)
    #expect(length == 51 && port == 53 && rest == 43)
    let errorBytes = Captures.unreachable4
    let icmp = try ICMPHeader(IPv4Header(errorBytes.span.packetBytes).payload, version: .v4)
    let quoted = try IPv4Header(icmp.payload).sourceAddress
    let (isError, identifier) = (icmp.isError, icmp.echoIdentifier)
    #expect(isError && identifier == nil && quoted == IPAddress("10.0.0.2"))
  }

  @Test func `loads and stores outside the span do nothing`() {
    var bytes: [UInt8] = [1, 2, 3]
    do {
      let span = bytes.span.packetBytes
      let (two, none, before) = (
        span.loadBigEndian16(at: 1), span.loadBigEndian32(at: 0), span.loadByte(at: -1)
      )
      #expect(two == 0x0203 && none == nil && before == nil)
      let huge = (span.loadBigEndian64(at: .max), span.slice(from: .max, length: .max).byteCount)
      #expect(huge.0 == nil && huge.1 == 0)
    }
    var span = bytes.mutableSpan
    var writable = span.mutablePacketBytes
    let stored = writable.storeBigEndian16(0xaabb, at: 1)
    let refused = [
      writable.storeBigEndian16(0, at: 2), writable.storeBigEndian32(0, at: .max),
      writable.storeBigEndian64(0, at: -1), writable.storeByte(0, at: 3),
    ]
    #expect(stored && !refused.contains(true))
    #expect(bytes == [1, 0xaa, 0xbb])
  }
}
