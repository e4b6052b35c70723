# SPDX-License-Identifier: Apache-2.0
"""Another program's NFQUEUE: binds a queue, lets packets wait in it, answers when told."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from netns import Namespace, wait_for

NETLINK_NETFILTER = 12
QUEUE_SUBSYSTEM = 3
MESSAGE_PACKET, MESSAGE_VERDICT, MESSAGE_CONFIG = 0, 1, 2
ATTRIBUTE_COMMAND, ATTRIBUTE_PARAMETERS = 1, 2
ATTRIBUTE_PACKET_HEADER, ATTRIBUTE_VERDICT_HEADER = 1, 2
REQUEST, ACKNOWLEDGE = 1, 4


def attribute(kind: int, body: bytes) -> bytes:
    """A netlink attribute, padded."""
    return struct.pack("=HH", len(body) + 4, kind) + body + b"\0" * (-len(body) % 4)


class HeldQueue:
    """A queue in which packets wait until `accept_all`."""

    def __init__(self, space: Namespace, number: int) -> None:
        self.number = number
        self.space = space
        with space.entered():
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
            self.socket.bind((0, 0))
        self.port_id = self.socket.getsockname()[0]
        self.socket.settimeout(5)
        self._configure(attribute(ATTRIBUTE_COMMAND, struct.pack(">BBH", 1, 0, 0)))
        self._configure(attribute(ATTRIBUTE_PARAMETERS, struct.pack(">IB", 64, 2)))

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        header = struct.pack(">BBH", 0, 0, self.number)
        length = 16 + len(header) + len(body)
        message = struct.pack("=IHHII", length, QUEUE_SUBSYSTEM << 8 | kind, flags, 1, 0)
        self.socket.send(message + header + body)

    def _configure(self, body: bytes) -> None:
        self._send(MESSAGE_CONFIG, REQUEST | ACKNOWLEDGE, body)
        answer = self.socket.recv(65536)
        error = struct.unpack_from("=i", answer, 16)[0]
        if error:
            raise OSError(-error, f"queue {self.number}")

    @property
    def waiting(self) -> int:
        """How many packets wait, by the kernel's own count."""
        return queue_status(self.space).get(self.number, [0, 0])[1]

    def wait_until(self, count: int) -> None:
        """Waits until so many packets wait."""
        wait_for(lambda: self.waiting == count, f"{count} packets wait in queue {self.number}")

    def accept_all(self) -> None:
        """Lets go all that wait."""
        self.socket.setblocking(False)
        while True:
            try:
                message = self.socket.recv(65536)
            except BlockingIOError:
                return
            kind = struct.unpack_from("=H", message, 4)[0]
            if kind != QUEUE_SUBSYSTEM << 8 | MESSAGE_PACKET:
                continue
            offset = 20
            while offset + 4 <= len(message):
                length, name = struct.unpack_from("=HH", message, offset)
                if name & 0x3FFF == ATTRIBUTE_PACKET_HEADER:
                    verdict = struct.pack(">I", 1) + message[offset + 4 : offset + 8]
                    self._send(
                        MESSAGE_VERDICT, REQUEST, attribute(ATTRIBUTE_VERDICT_HEADER, verdict)
                    )
                    break
                offset += (length + 3) & ~3

    def close(self) -> None:
        """Gives the queue back; what waits is dropped."""
        self.socket.close()


def queue_status(space: Namespace) -> dict[int, list[int]]:
    """Every bound queue of a namespace: port id, waiting, ... by number."""
    with space.entered():
        text = Path("/proc/thread-self/net/netfilter/nfnetlink_queue").read_text()
    rows = [[int(column) for column in line.split()] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows}
