# SPDX-License-Identifier: Apache-2.0
"""Broken packets: a collection of every protocol that is read, and random mutations."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from scapy.all import (
    GRE,
    ICMP,
    IP,
    SCTP,
    TCP,
    UDP,
    Ether,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Packet,
    Raw,
    raw,
)

Named = tuple[str, bytes]


def broken_v4(source: str, destination: str) -> Iterator[Named]:
    """IPv4 packets with something wrong; those that the kernel itself drops are among them."""

    def ip(**fields: object) -> IP:
        return IP(src=source, dst=destination, **fields)

    payload = Raw(b"payload.")
    yield "ihl 4", raw(ip(ihl=4) / UDP(dport=9) / payload)
    yield "ihl beyond the packet", raw(ip(ihl=15, len=28) / UDP(dport=9))
    yield "length below header", raw(ip(len=19) / UDP(dport=9) / payload)
    yield "length beyond packet", raw(ip(len=400) / UDP(dport=9) / payload)
    yield "length 0", raw(ip(len=0) / UDP(dport=9) / payload)
    yield "version 5", raw(ip(version=5) / UDP(dport=9) / payload)
    yield "version 6 in an IPv4 frame", raw(ip(version=6) / UDP(dport=9) / payload)
    yield "bad checksum", raw(ip(chksum=0x1234) / UDP(dport=9) / payload)
    yield "option runs over", raw(ip(options=[]) / b"")[:20] + b"\x44\xff\x05\x00"
    for option in (b"\x44\x28\x05\x00", b"\x83\x01\x00\x00", b"\x07\x00\x00\x00", b"\x01" * 4):
        header = bytearray(raw(ip(ihl=6, len=24 + 16, proto=17)))[:20]
        header[10:12] = b"\0\0"
        fixed = raw(IP(bytes(header[:10]) + b"\0\0" + bytes(header[12:20]) + option))
        yield (
            f"option {option.hex()}",
            checksummed(fixed[:20] + option) + raw(UDP(dport=9) / payload),
        )
    yield "only the header", raw(ip(proto=17, len=20))
    for number, name in ((6, "tcp"), (17, "udp"), (1, "icmp"), (132, "sctp"), (136, "udplite")):
        for length in (0, 1, 3, 7):
            body = bytes(range(length))
            yield f"{name} of {length} bytes", raw(ip(proto=number) / Raw(body))
    yield "udp length 0", raw(ip() / UDP(dport=9, len=0) / payload)
    yield "udp length 7", raw(ip() / UDP(dport=9, len=7) / payload)
    yield "udp length beyond", raw(ip() / UDP(dport=9, len=4000) / payload)
    yield "udp length short", raw(ip() / UDP(dport=9, len=9) / payload)
    for offset in (0, 4, 15):
        yield f"tcp offset {offset}", raw(ip() / TCP(dport=9, dataofs=offset))
    yield "tcp all flags", raw(ip() / TCP(dport=9, flags=0x1FF))
    yield "tcp option runs over", raw(ip() / TCP(dport=9, dataofs=6) / Raw(b"\x02\xff\x00\x00"))
    yield "icmp unreachable without a packet", raw(ip() / ICMP(type=3, code=1))
    inner = raw(IP(src=destination, dst=source, ihl=15) / UDP())[:20]
    yield "icmp with a broken packet in it", raw(ip() / ICMP(type=3, code=1) / Raw(inner))
    yield "sctp without chunks", raw(ip() / SCTP(dport=9))
    yield "gre", raw(ip() / GRE(chksum_present=1))
    for number in (0, 41, 50, 51, 255):
        yield f"protocol {number}", raw(ip(proto=number) / payload)
    yield "tiny fragment", raw(ip(proto=17, flags="MF") / Raw(b"\x00" * 8))
    yield "tiny tcp fragment", raw(ip(proto=6, flags="MF") / Raw(b"\x00" * 8))
    yield "fragment of odd length", raw(ip(proto=17, flags="MF") / Raw(b"\x00" * 13))
    yield "fragment beyond 64k", raw(ip(proto=17, frag=8191) / Raw(b"\x00" * 100))
    for number, offset in ((77, 0), (77, 1), (77, 2), (77, 1)):
        more = "MF" if offset < 2 else 0
        fragment = ip(id=number, proto=17, flags=more, frag=offset) / Raw(b"\x11" * 24)
        yield f"overlapping fragment at {offset}", raw(fragment)
    yield "df and mf", raw(ip(proto=17, flags="MF+DF") / Raw(b"\x00" * 64))
    yield "source is broadcast", raw(IP(src="255.255.255.255", dst=destination) / UDP(dport=9))
    yield "land", raw(IP(src=destination, dst=destination) / TCP(sport=9, dport=9, flags="S"))


def checksummed(header: bytes) -> bytes:
    """An IPv4 header with its checksum and IHL put right."""
    header = bytes([0x40 | len(header) // 4]) + header[1:10] + b"\0\0" + header[12:]
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return header[:10] + struct.pack(">H", total) + header[12:]


def broken_v6(source: str, destination: str) -> Iterator[Named]:
    """IPv6 packets with something wrong."""

    def ip(**fields: object) -> IPv6:
        return IPv6(src=source, dst=destination, **fields)

    payload = Raw(b"payload.")
    yield "length beyond", raw(ip(plen=400) / UDP(dport=9) / payload)
    yield "length 0", raw(ip(plen=0) / UDP(dport=9) / payload)
    yield "no next header", raw(ip(nh=59) / payload)
    yield "unknown next header", raw(ip(nh=254) / payload)
    for number in (0, 43, 44, 51, 60, 135, 139):
        for length in (0, 1, 2, 7):
            yield f"header {number} of {length} bytes", raw(ip(nh=number) / Raw(b"\x3b" * length))
        yield f"header {number} runs over", raw(ip(nh=number) / Raw(b"\x11\xff" + b"\x01" * 14))
    long_chain: Packet = ip()
    for _ in range(40):
        long_chain = long_chain / IPv6ExtHdrDestOpt()
    yield "forty headers", raw(long_chain / UDP(dport=9) / payload)
    twice = ip() / IPv6ExtHdrHopByHop() / IPv6ExtHdrHopByHop() / UDP(dport=9)
    yield "hop by hop twice", raw(twice)
    yield "hop by hop late", raw(ip() / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / UDP())
    yield "routing 0", raw(ip() / IPv6ExtHdrRouting(addresses=[destination]) / UDP(dport=9))
    fragment = IPv6ExtHdrFragment
    yield "atomic fragment", raw(ip() / fragment(nh=17) / UDP(dport=9) / payload)
    yield "tiny fragment", raw(ip() / fragment(nh=17, m=1) / Raw(b"\x00" * 8))
    yield "fragment of odd length", raw(ip() / fragment(nh=6, m=1) / Raw(b"\x00" * 13))
    yield "headers in a later fragment", raw(ip() / fragment(nh=60, m=1, id=9) / Raw(b"\x11\x07"))
    for offset in (0, 1, 1, 2):
        more = int(offset < 2)
        body = Raw(b"\x22" * 24)
        yield (
            f"overlap at {offset}",
            raw(ip() / fragment(nh=17, id=5, m=more, offset=offset) / body),
        )
    for name, number in (("tcp", 6), ("udp", 17), ("icmpv6", 58), ("sctp", 132)):
        for length in (0, 1, 3, 7):
            yield f"{name} of {length} bytes", raw(ip(nh=number) / Raw(bytes(range(length))))
    yield "udp length beyond", raw(ip() / UDP(dport=9, len=4000) / payload)
    yield "udp length 0", raw(ip() / UDP(dport=9, len=0) / payload)
    yield "tcp offset 0", raw(ip() / TCP(dport=9, dataofs=0))
    yield "tcp offset 15", raw(ip() / TCP(dport=9, dataofs=15))
    yield "jumbogram", raw(ip(plen=0, nh=0) / Raw(b"\x11\x00\xc2\x04\x00\x01\x00\x00") / UDP())


def frame(packet: bytes, destination: str, source: str) -> bytes:
    """The packet behind an Ethernet header that fits its version."""
    kind = 0x86DD if packet[:1] and packet[0] >> 4 == 6 else 0x0800
    return raw(Ether(dst=destination, src=source, type=kind)) + packet


def good_packets(v4: tuple[str, str], v6: tuple[str, str]) -> list[bytes]:
    """Sound packets to mutate."""
    packets: list[bytes] = []
    for header in (IP(src=v4[0], dst=v4[1]), IPv6(src=v6[0], dst=v6[1])):
        echo = ICMP() if isinstance(header, IP) else ICMPv6EchoRequest()
        for body in (UDP(dport=9), TCP(dport=9, flags="S"), SCTP(dport=9), echo):
            packets.append(raw(header / body / Raw(b"0123456789abcdef")))
    extended = IPv6(src=v6[0], dst=v6[1]) / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment()
    packets.append(raw(extended / UDP(dport=9) / Raw(b"0123456789abcdef")))
    return packets


def mutations(packets: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Random changes of sound packets: bytes, lengths, cuts. IPv4 checksums are put right, so that
    most get past the kernel's first look."""
    chance = random.Random(seed)
    for _ in range(count):
        packet = bytearray(chance.choice(packets))
        for _ in range(chance.randint(1, 5)):
            where = chance.randrange(min(len(packet), 80))
            packet[where] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if chance.random() < 0.3:
            del packet[chance.randrange(1, len(packet)) :]
        if chance.random() < 0.1:
            packet += bytes(chance.randrange(1, 200))
        if len(packet) >= 20 and packet[0] >> 4 == 4 and chance.random() < 0.8:
            length = min(len(packet), max(20, (packet[0] & 15) * 4)) & ~3
            fixed = checksummed(bytes(packet[:length]))
            packet[1:length] = fixed[1:]
            packet[0] = fixed[0] if chance.random() < 0.9 else packet[0]
        yield bytes(packet)
