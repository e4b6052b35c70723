# SPDX-License-Identifier: Apache-2.0
"""UDP traffic: paced senders, receivers that lose nothing, a round-trip probe.

As a program it floods: traffic.py ADDRESS PORT --rate N --seconds S | --count N [--mark M]
SIGTERM ends it early.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import time

from netns import Namespace, wait_for

SO_MARK = 36
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33


class Sink:
    """Receives UDP datagrams into a buffer large enough for a whole test."""

    def __init__(self, space: Namespace, port: int, family: int = socket.AF_INET) -> None:
        with space.entered():
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 500_000_000)
        self.socket.bind(("", port))
        self.socket.setblocking(False)
        self.received = 0
        self.last = b""

    def count(self) -> int:
        """How many have come so far."""
        try:
            while True:
                self.last = self.socket.recv(65536)
                self.received += 1
        except BlockingIOError:
            return self.received

    def expect(self, count: int, within: float = 10) -> None:
        """Waits until so many have come."""
        wait_for(lambda: self.count() >= count, f"{count} datagrams at the receiver", within)
        assert self.received == count, f"{self.received} datagrams received, {count} expected"

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close()


def send(connected: socket.socket, payload: bytes) -> None:
    """Sends a datagram; that a rule drops it is no error."""
    while True:
        try:
            connected.send(payload)
            return
        except ConnectionRefusedError:
            # The answer to an earlier one: this one has not been sent.
            continue
        except PermissionError:
            return


class Sender:
    """Sends UDP datagrams from one port to one address."""

    def __init__(
        self, space: Namespace, address: str, port: int, mark: int = 0, source: int = 0
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with space.entered():
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
        # What waits in a queue is the sender's still: a small buffer would make it wait.
        self.socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 100_000_000)
        if mark:
            self.mark(mark)
        if source:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(("", source))
        self.socket.connect((address, port))

    def mark(self, mark: int) -> None:
        """Marks what is sent from now on."""
        self.socket.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)

    def send(self, count: int = 1, payload: bytes = b"x" * 32) -> None:
        """Sends datagrams; one that a rule drops is no error."""
        for _ in range(count):
            send(self.socket, payload)

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close()


class Flood:
    """A paced sender in a process of its own."""

    def __init__(
        self,
        space: Namespace,
        address: str,
        port: int,
        rate: int = 0,
        seconds: float = 0,
        count: int = 0,
    ) -> None:
        limit = ["--seconds", str(seconds)] if seconds else ["--count", str(count)]
        self.process = subprocess.Popen(
            [*space.prefix, sys.executable, __file__, address, str(port)]
            + ["--rate", str(rate), *limit],
            stdout=subprocess.PIPE,
            text=True,
        )

    def sent(self, within: float = 60) -> int:
        """Waits for the end; gives how many were sent."""
        return int(self.process.communicate(timeout=within)[0])


def flood(options: argparse.Namespace) -> int:
    """Sends as the options say; gives how many were sent."""
    family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
    sender = socket.socket(family, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 100_000_000)
    sender.connect((options.address, options.port))
    is_over = False

    def end(_signal: int, _frame: object) -> None:
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, end)
    begin = time.monotonic()
    sent = 0
    while not is_over:
        elapsed = time.monotonic() - begin
        if options.seconds and elapsed >= options.seconds:
            return sent
        due = int(elapsed * options.rate) + 1 - sent if options.rate else 100
        if options.count:
            due = min(due, options.count - sent)
            if sent >= options.count:
                return sent
        if due <= 0:
            time.sleep(0.0005)
        for _ in range(min(due, 200)):
            send(sender, b"flood" * 8)
            sent += 1
    return sent


def main() -> None:
    """The flooding program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--count", type=int, default=0)
    print(flood(parser.parse_args()))


if __name__ == "__main__":
    main()
