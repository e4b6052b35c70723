# SPDX-License-Identifier: Apache-2.0
"""The demo's network of three hosts, and the packets that go through it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress

HOST, PEER, MONITOR = "10.77.0.1", "10.77.0.2", "10.77.1.2"
PATIENCE = 10.0
NETWORK = f"""
ip netns add peer
ip netns add monitor
ip link add demo0 type veth peer name peer0 netns peer
ip link add demo1 type veth peer name monitor0 netns monitor
ip addr add {HOST}/24 dev demo0
ip addr add 10.77.1.1/24 dev demo1
ip -n peer addr add {PEER}/24 dev peer0
ip -n monitor addr add {MONITOR}/24 dev monitor0
ip link set demo0 up
ip link set demo1 up
ip -n peer link set peer0 up
ip -n monitor link set monitor0 up
iptables -t mangle -A PREROUTING -p udp --dport 7000 -j TEE --gateway {MONITOR}
iptables -t mangle -A POSTROUTING -p udp --dport 4444 -j DROP
"""


class DemoError(Exception):
    """What makes the demo fail, in words for the screen."""


def make_network() -> None:
    subprocess.run(["sh", "-ec", NETWORK], check=True)


class Peer:
    """The other host: answers DNS and HTTP, and sends datagrams when told."""

    def __init__(self, stack: ExitStack) -> None:
        words = ["ip", "netns", "exec", "peer", sys.executable, __file__]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(self._process.kill)
        self.read()

    def read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise DemoError("the peer ended")
        return line

    def send(self, port: int) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{port}\n")
        self._process.stdin.flush()
        return int(self.read())

    def got_blocked(self) -> int:
        """How many datagrams to port 666 reached the peer before the one to port 5000."""
        return self.send(0)


def be_peer() -> None:
    """The peer's program. Each line on its standard output is when it sent something."""
    dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    dns.bind((PEER, 53))
    web = socket.create_server((PEER, 80))
    blocked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    blocked.bind((PEER, 666))
    blocked.setblocking(False)
    pended = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    pended.bind((PEER, 5000))
    pended.settimeout(PATIENCE)

    def count_blocked() -> int:
        pended.recv(512)
        count = 0
        with suppress(BlockingIOError):
            while blocked.recv(512):
                count += 1
        return count

    def answer_dns() -> None:
        while True:
            query, client = dns.recvfrom(512)
            print(time.monotonic_ns(), flush=True)
            dns.sendto(query[:2] + b"\x81\x83" + query[4:], client)

    def answer_web() -> None:
        while True:
            client, _ = web.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nhi\n")

    for job in (answer_dns, answer_web):
        threading.Thread(target=job, daemon=True).start()
    print("ready", flush=True)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for line in sys.stdin:
        if int(line) == 0:
            print(count_blocked(), flush=True)
            continue
        now = time.monotonic_ns()
        sender.sendto(b"hello", (HOST, int(line)))
        print(now, flush=True)


def datagram(port: int) -> int:
    """Sends one to the peer. Returns when, as the others below."""
    now = time.monotonic_ns()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", (PEER, port))
    return now


def query() -> int:
    """Asks the peer's DNS server for callout.test and waits for the answer."""
    now = time.monotonic_ns()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.sendto(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\7callout\4test\0\0\1\0\1", (PEER, 53))
        client.recv(512)
    return now


def request() -> int:
    """Fetches a page from the peer."""
    now = time.monotonic_ns()
    words = ["curl", "--silent", "--fail", "--max-time", "10", f"http://{PEER}/"]
    page = subprocess.run(words, check=False, capture_output=True, text=True).stdout
    if page != "hi\n":
        raise DemoError("curl did not get the page")
    return now


if __name__ == "__main__":
    be_peer()
