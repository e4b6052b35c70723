# SPDX-License-Identifier: Apache-2.0
"""Two hosts on one Ethernet link, and packet sockets that send and hear whole frames on it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from netns import Namespace, wait_for

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_OUTGOING = 4
TP_STATUS_VLAN_VALID = 1 << 4
HOST_MAC = "02:00:00:00:00:10"
PEER_MAC = "02:00:00:00:00:02"


def link(
    host: Namespace, device: str, peer: Namespace, other: str, subnet: int, peer_mac: str = PEER_MAC
) -> None:
    """A veth pair between the two, 10.0.SUBNET.10 here and 10.0.SUBNET.1 there; no IPv6."""
    far = ["peer", "name", other, "address", peer_mac, "netns", peer.name]
    host.run("ip", "link", "add", device, "address", HOST_MAC, "type", "veth", *far)
    for space, name, number in ((host, device, 10), (peer, other, 1)):
        space.sysctl(f"net.ipv6.conf.{name}.disable_ipv6", "1")
        space.run("ip", "addr", "add", f"10.0.{subnet}.{number}/24", "dev", name)
        space.run("ip", "link", "set", name, "up")


class Wire:
    """host eth0 -- eth0 peer: 10.0.0.10 and 10.0.0.1."""

    address = "10.0.0.1"

    def __init__(self, peer_mac: str = PEER_MAC) -> None:
        self.peer_mac = peer_mac
        self.host = Namespace("here")
        self.peer = Namespace("there")
        link(self.host, "eth0", self.peer, "eth0", 0, peer_mac)

    def ping(self, *options: str, to: str = "") -> str:
        """What ping prints at its end; it need not succeed."""
        command = ["ping", "-n", "-q", "-c1", "-W1", *options, to or self.address]
        return self.host.run(*command, check=False).stdout

    def answers(self, to: str = "") -> bool:
        """Whether a ping is answered."""
        return " 0% packet loss" in self.ping(to=to)

    def know_each_other(self) -> None:
        """No ARP is needed from now on."""
        for space, address, mac in (
            (self.host, "10.0.0.1", self.peer_mac), (self.peer, "10.0.0.10", HOST_MAC),
        ):  # fmt: skip
            space.run("ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth0")

    def helpers(self) -> list[str]:
        """The helper devices that there are."""
        lines = self.host.out("ip", "-o", "link").splitlines()
        names = [line.split(": ")[1].split("@")[0] for line in lines]
        return [name for name in names if name.startswith("co")]

    def close(self) -> None:
        """Removes both."""
        for space in (self.host, self.peer):
            space.close()


class Ear:
    """Hears the frames that come to a device, with their VLAN tags in their places."""

    def __init__(self, space: Namespace, device: str = "eth0") -> None:
        with space.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.bind((device, ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setblocking(False)
        self.frames: list[bytes] = []

    def send(self, frame: bytes) -> None:
        """Sends a frame."""
        self.socket.send(frame)

    def heard(self) -> list[bytes]:
        """All frames so far."""
        while True:
            try:
                frame, control, _, address = self.socket.recvmsg(65536, 256)
            except BlockingIOError:
                return self.frames
            if address[2] != PACKET_OUTGOING:
                self.frames.append(self._tagged(frame, control))

    @staticmethod
    def _tagged(frame: bytes, control: list[tuple[int, int, bytes]]) -> bytes:
        for level, kind, data in control:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tag, protocol = struct.unpack("IIIHHHH", data[:20])
                if status & TP_STATUS_VLAN_VALID:
                    return frame[:12] + struct.pack("!HH", protocol or 0x8100, tag) + frame[12:]
        return frame

    def wait(self, wanted: Callable[[bytes], bool], what: str) -> bytes:
        """Waits for a frame of a kind."""
        return wait_for(lambda: next(filter(wanted, self.heard()), None), what)

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close()
