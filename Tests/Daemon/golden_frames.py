# SPDX-License-Identifier: Apache-2.0
"""Golden Ethernet frames: built by scapy, and what tshark reads in them.

`golden-frames.json` holds both, and the unit tests of PacketViews read it. Run this file to make it
anew, after a change of the frames below.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("golden-frames.json")
FIELDS = [
    "eth.dst",
    "eth.src",
    "eth.type",
    "eth.len",
    "vlan.id",
    "vlan.priority",
    "vlan.dei",
    "vlan.etype",
    "vlan.len",
    "ieee8021ad.id",
    "ieee8021ad.priority",
    "ieee8021ad.dei",
    "llc.type",
    "llc.oui",
    "arp.opcode",
    "arp.src.hw_mac",
    "arp.src.proto_ipv4",
    "arp.dst.hw_mac",
    "arp.dst.proto_ipv4",
    "ip.src",
    "ipv6.src",
]


def frames() -> dict[str, bytes]:
    """The frames by name."""
    from scapy.all import ARP, IP, LLC, SNAP, UDP, Dot1AD, Dot1Q, Dot3, Ether, IPv6, Raw

    one, two = "02:00:00:00:00:01", "02:00:00:00:00:02"
    ether = Ether(src=one, dst=two)
    udp = IP(src="10.0.0.1", dst="10.0.0.2", id=1) / UDP(sport=4000, dport=53) / Raw(b"callout")
    udp6 = IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=4000, dport=53) / Raw(b"callout")
    ask = ARP(op=1, hwsrc=one, psrc="10.0.0.1", hwdst="00:00:00:00:00:00", pdst="10.0.0.2")
    answer = ARP(op=2, hwsrc=two, psrc="10.0.0.2", hwdst=one, pdst="10.0.0.1")
    dot3 = Dot3(src=one, dst="01:80:c2:00:00:00")
    snap = LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x0800)
    made = {
        "ipv4": ether / udp,
        "ipv6": ether / udp6,
        "arp request": Ether(src=one, dst="ff:ff:ff:ff:ff:ff") / ask,
        "arp reply": Ether(src=two, dst=one) / answer,
        "multicast": Ether(src=one, dst="01:00:5e:00:00:fb") / udp,
        "vlan": ether / Dot1Q(vlan=100, prio=5) / udp,
        "vlan dei": ether / Dot1Q(vlan=4094, prio=7, id=1) / udp6,
        "priority tag": ether / Dot1Q(vlan=0, prio=3) / udp,
        "service tag": ether / Dot1AD(vlan=200, prio=1) / Dot1Q(vlan=100, prio=5) / udp,
        "stacked": ether / Dot1Q(vlan=10) / Dot1Q(vlan=20) / Dot1Q(vlan=30) / udp,
        "vlan arp": Ether(src=one, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=7) / ask,
        "spanning tree": dot3 / LLC(dsap=0x42, ssap=0x42, ctrl=3) / Raw(bytes(35)),
        "snap": Dot3(src=one, dst=two) / snap / udp,
        "vlan snap": ether / Dot1Q(vlan=9, type=len(snap / udp)) / Raw(bytes(snap / udp)),
        "snap of a vendor": dot3
        / LLC(dsap=0xAA, ssap=0xAA, ctrl=3)
        / SNAP(OUI=0x00000C, code=0x2000)
        / Raw(bytes(20)),
        "lldp": Ether(src=one, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(46)),
        "padded": ether / udp / Raw(bytes(18)),
        "local experimental": Ether(src=one, dst=two, type=0x88B5) / Raw(b"x" * 46),
    }
    return {name: bytes(frame) for name, frame in made.items()}


def decode(frames: dict[str, bytes]) -> list[dict[str, Any]]:
    """The frames with what tshark says of each; a field may be there several times."""
    from scapy.utils import PcapWriter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.pcap"
        with PcapWriter(str(path), linktype=1) as writer:
            for frame in frames.values():
                writer.write(frame)
        command = ["tshark", "-n", "-r", str(path), "-T", "json"]
        for field in FIELDS:
            command += ["-e", field]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    layers = [packet["_source"].get("layers", {}) for packet in json.loads(text)]
    assert len(layers) == len(frames)
    return [
        {"name": name, "bytes": frame.hex(), "fields": fields}
        for (name, frame), fields in zip(frames.items(), layers, strict=True)
    ]


def render(decoded: list[dict[str, Any]]) -> str:
    """The file's text."""
    return json.dumps(decoded, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(render(decode(frames())))
