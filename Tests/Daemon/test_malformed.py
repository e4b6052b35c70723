# SPDX-License-Identifier: Apache-2.0
"""Truncated and malformed packets of every protocol read: no crash, counted, nothing else lost."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable
from functools import partial

import pytest
from daemon import TAG, Daemon, every, policy
from frames import broken_v4, broken_v6, frame, good_packets, mutations
from netns import Namespace, Topology, wait_for

LAYERS = [
    f"{layer}-v{version}"
    for layer in ("inbound-ippacket", "inbound-transport", "ipforward", "outbound-ippacket")
    for version in (4, 6)
]
CALLOUTS = (
    TAG + "\n- { name: watch, type: inspect, log: 5/s }\n"
    "- { name: lower, type: rewrite, set: { ttl: 9, dscp: 3 } }"
)


def watching(on_failure: str) -> str:
    """A policy that looks at everything everywhere, reads every field and rewrites what passes."""
    filters = ""
    for layer in LAYERS:
        filters += every(layer, "callout-inspection", "numbered")
        filters += every(layer, "callout-inspection", "watch", f"watch {layer}")
        filters += (
            f"- name: fields of {layer}\n  layer: {layer}\n  conditions:\n"
            "    - { field: ip-source-port, match: equal, value: 1 }\n"
            "    - { field: icmp-type, match: equal, value: 255 }\n"
            "    - { field: flags, match: flags-all-set, value: [fragment] }\n"
            "  action: permit\n"
        )
    for version in (4, 6):
        filters += (
            f"- {{ name: rewrite v{version}, layer: ipforward-v{version}, sublayer: late, "
            "action: callout-terminating, callout: lower }\n"
        )
    head = (
        f"queues: {{ on-failure: {on_failure} }}\nlifecycle: {{ sweep-after: 500ms }}\n"
        "sublayers:\n  - { name: late, weight: 1 }"
    )
    return policy(filters, CALLOUTS, head)


def hardware(space: Namespace, device: str) -> str:
    """A device's address."""
    return json.loads(space.out("ip", "-j", "link", "show", device))[0]["address"]


def counted(daemon: Daemon, malformed: int) -> Callable[[], bool]:
    """Whether so many malformed packets have been counted."""
    return lambda: daemon.queue()["malformed"] >= malformed


class Injector:
    """Sends frames from the client to the host as they are."""

    def __init__(self, net: Topology) -> None:
        self.to = hardware(net.host, "inside")
        self.source = hardware(net.client, "eth0")
        with net.client.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self.socket.bind(("eth0", 0))

    def send(self, packets: Iterable[bytes]) -> None:
        """Sends IP packets."""
        for packet in packets:
            self.socket.send(frame(packet, self.to, self.source))

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close()


def answers(space: Namespace, address: str) -> bool:
    """Whether echo requests are answered."""
    done = space.run("ping", "-c3", "-i0.01", "-W2", address, check=False)
    return done.returncode == 0


def still_good(net: Topology, daemon: Daemon, sink, sender) -> None:
    """The daemon answers, adds up, and sound traffic passes."""
    receiver, source = sink(7100), sender(7100, space=net.client)
    source.send(20)
    receiver.expect(20)
    for address in (net.router_address, "fd00:2::2"):
        # Forged neighbour discovery may have made a host forget another for some seconds.
        wait_for(partial(answers, net.client, address), "an echo", 20)
    daemon.wait_quiet()
    status = daemon.status()
    assert status["healthy"]
    assert status["associated"] == status["live"] + status["ended"]
    wait_for(lambda: daemon.status()["live"] == 0, "no context stays")
    queue = daemon.queue()
    assert queue["ids-issued"] == queue["verdicts"] + queue["flushed"] + queue["id-gaps"]
    assert queue["verdict-errors"] == 0, queue["refusals"]


@pytest.mark.parametrize("on_failure", ["permit", "block"])
def test_malformed_packets_of_every_protocol_are_survived(
    start, net, sink, sender, closing, on_failure: str
) -> None:
    daemon = start(watching(on_failure))
    injector = closing(Injector(net))
    for target in (net.router_address, net.server_address):
        injector.send(packet for _, packet in broken_v4(net.client_address, target))
    for target in ("fd00:1::1", "fd00:2::2"):
        injector.send(packet for _, packet in broken_v6("fd00:1::2", target))
    still_good(net, daemon, sink, sender)
    queue = daemon.queue()
    assert queue["malformed"] > 20
    assert queue["failure-policy-applied"] >= queue["malformed"]


def test_a_malformed_packet_gets_the_failure_policys_verdict(
    start, net, closing, background
) -> None:
    """A UDP header of 3 bytes is routed by the kernel; whether it arrives is the policy's word."""
    broken = [p for name, p in broken_v4(net.client_address, net.server_address)
              if name == "udp of 3 bytes"]  # fmt: skip
    with net.server.entered():
        capture = closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)))
        capture.bind(("eth0", 0x0800))
    capture.setblocking(False)

    def arrivals() -> int:
        count = 0
        try:
            while True:
                data = capture.recv(2048)
                count += data[14 + 9] == 17 and data[16:18] == b"\x00\x17"
        except BlockingIOError:
            return count

    for on_failure, expected in (("permit", 10), ("block", 0)):
        daemon = start(watching(on_failure))
        injector = closing(Injector(net))
        injector.send(broken * 10)
        malformed = 10 if on_failure == "block" else 30
        wait_for(counted(daemon, malformed), "they count")
        daemon.wait_quiet()
        assert arrivals() == expected
        assert daemon.stop() == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_5000_random_mutations_are_survived(start, net, sink, sender, closing, seed: int) -> None:
    daemon = start(watching("permit"))
    injector = closing(Injector(net))
    targets = ((net.router_address, "fd00:1::1"), (net.server_address, "fd00:2::2"))
    for number, (v4, v6) in enumerate(targets):
        packets = good_packets((net.client_address, v4), ("fd00:1::2", v6))
        injector.send(mutations(packets, 2500, seed * 10 + number))
    still_good(net, daemon, sink, sender)
    queue = daemon.queue()
    assert queue["packets"] > 1500, "most mutations did not reach the queue"
    assert queue["malformed"] > 50


def test_packets_cut_by_a_small_copy_range_are_classified(
    start, net, sink, sender, closing
) -> None:
    text = watching("permit").replace("queues: {", "queues: { copy-range: 128,")
    daemon = start(text)
    closing(Injector(net)).send(p for _, p in broken_v4(net.client_address, net.server_address))
    receiver, source = sink(7100), sender(7100, space=net.client)
    before = daemon.queue()["malformed"]
    source.send(20, b"x" * 1000)
    receiver.expect(20)
    assert daemon.queue()["malformed"] == before
    assert daemon.status()["healthy"]


def test_oversized_udp_is_read_whole(start, net, sink, sender) -> None:
    """Datagrams of 60,000 bytes come as one packet through OUTPUT."""
    daemon = start(policy(every("outbound-transport-v4", "callout-inspection", "numbered"), TAG))
    receiver, source = sink(7101), sender(7101)
    source.send(5, b"x" * 60_000)
    receiver.expect(5)
    queue = daemon.queue()
    assert (queue["packets"], queue["malformed"]) == (5, 0)
