# SPDX-License-Identifier: Apache-2.0
"""The built-in callouts on real traffic, with the very example policies where there is one."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import pytest
from daemon import CALLOUTCTL, EXAMPLES, Daemon, every, policy, udp_to
from netns import Topology, wait_for

PORT = 7050


def example(name: str) -> str:
    """An example policy's text."""
    return (EXAMPLES / f"{name}.yaml").read_text()


@pytest.fixture
def contexts(background, sender) -> Callable[..., list[int]]:
    """Runs `calloutctl events` while `act` sends, until `count` contexts have ended."""

    def collect(daemon: Daemon, tag: str, count: int, probe: Callable, act: Callable) -> list[int]:
        out = daemon.directory / "events"
        command = [CALLOUTCTL, "events", "--json", "--tag", tag, "--socket", str(daemon.socket)]
        with out.open("wb") as file:
            background(daemon.space, *command, stdout=file)

        def ended(since: int = 0) -> list[int]:
            whole = out.read_bytes().rpartition(b"\n")[0].splitlines()
            ends = [e for e in map(json.loads, whole) if e["event"] == "context_removed"]
            return [int(e["context"], 16) for e in ends if e["time"] >= since]

        wait_for(lambda: (probe(), ended())[1], "the client hears events")
        # Those of the probe may still be on their way.
        wait_for(lambda: len(ended()) >= 1 and daemon.status()["live"] == 0, "quiet")
        begin = time.monotonic_ns()
        act()
        wait_for(lambda: len(ended(begin)) >= count, f"{count} contexts")
        return ended(begin)

    return collect


def test_tag_puts_a_number_on_packets(start, sender, contexts) -> None:
    daemon = start(
        policy(
            every("outbound-transport-v4", "callout-inspection", "fixed"),
            "- { name: fixed, type: tag, context: 0x1234567890abcdef }",
        )
    )
    source = sender(PORT)
    found = contexts(daemon, "fixed", 5, source.send, lambda: source.send(5))
    assert set(found) == {0x1234567890ABCDEF}


def test_tag_example_numbers_outbound_tcp(start, net: Topology, contexts, background) -> None:
    daemon = start(example("tag"))
    background(net.server, "socat", "TCP-LISTEN:7051,fork,reuseaddr", "SYSTEM:cat")

    def talk() -> None:
        with net.host.entered():
            connection = wait_for(lambda: dial(net.server_address, 7051), "the server listens")
        with connection:
            connection.sendall(b"hello")
            assert connection.recv(16) == b"hello"

    found = contexts(daemon, "numbered", 4, talk, talk)
    assert len(set(found)) == len(found)
    assert sorted(found) == list(range(min(found), min(found) + len(found)))
    assert daemon.callout("numbered")["packets"] >= 8


def dial(address: str, port: int) -> socket.socket | None:
    """A TCP connection, if the other side listens."""
    try:
        return socket.create_connection((address, port), timeout=5)
    except ConnectionRefusedError:
        return None


def test_tag_flow_hash_is_the_same_for_a_flow_and_differs_between_flows(
    start, sender, contexts
) -> None:
    daemon = start(
        policy(
            every("outbound-transport-v4", "callout-inspection", "flows"),
            "- { name: flows, type: tag, context: flow-hash }",
        )
    )
    first, second = sender(PORT), sender(PORT)

    def both() -> None:
        first.send(3)
        second.send(3)

    found = contexts(daemon, "flows", 6, first.send, both)[-6:]
    assert len(set(found)) == 2
    assert len(set(found[:3])) == len(set(found[3:])) == 1


def test_flows_example_looks_at_the_beginnings_of_flows_and_tells_old_ones(start, sender) -> None:
    daemon = start(example("flows"))
    first, second = sender(7080), sender(7080)
    first.send(20)
    second.send(20)
    wait_for(lambda: daemon.queue()["permitted"] >= 40, "all pass")
    counted = {name: daemon.callout(name)["packets"] for name in ("beginnings", "watch", "again")}
    assert counted == {"beginnings": 6, "watch": 10, "again": 0}
    assert daemon.ctl("reload").returncode == 0
    first.send(2)
    wait_for(lambda: daemon.callout("again")["packets"] == 1, "the flow is authorized again")


def test_inspect_example_counts_what_arrives_and_logs_a_bounded_number(
    start, net: Topology
) -> None:
    daemon = start(example("inspect"))
    begin = time.monotonic()
    net.client.run("ping", "-q", "-i0.002", "-c400", net.router_address)
    net.client.run("ping", "-q", "-i0.01", "-c10", "fd00:1::1")
    seconds = time.monotonic() - begin
    wait_for(lambda: daemon.callout("watch")["packets"] >= 410, "410 packets inspected")
    watch = json.loads(daemon.ctl("callouts", "--json").stdout)
    assert watch["bytes"] >= 400 * 84 + 10 * 104
    assert watch["filters"] == 2
    lines = [line for line in daemon.log.splitlines() if "callout.packet=" in line]
    assert 10 <= len(lines) <= 10 * (seconds + 2)
    assert any("10.0.1.2 > 10.0.1.1 length 84" in line for line in lines)


def test_block_example_drops_routed_pings_only(start, net: Topology) -> None:
    daemon = start(example("block"))
    for address, code in ((net.server_address, 1), ("fd00:2::2", 1), (net.router_address, 0)):
        ping = net.client.run("ping", "-q", "-c2", "-i0.01", "-W0.3", address, check=False)
        assert ping.returncode == code, address
    assert daemon.callout("deny")["packets"] == 2
    assert daemon.queue()["blocked"] == 2
    assert sum(each["kernel-hits"] for each in daemon.ask("filters")) == 2


def test_permit_example_lets_the_exception_through(start, net: Topology, background) -> None:
    net.server.run("ip", "addr", "replace", "192.0.2.1/32", "dev", "lo")
    net.host.run("ip", "route", "replace", "192.0.2.0/24", "via", net.server_address)
    daemon = start(example("permit"))
    background(net.server, "socat", "TCP-LISTEN:23,fork,reuseaddr", "SYSTEM:cat")
    with net.host.entered():
        connection = wait_for(lambda: dial("192.0.2.1", 23), "telnet to the lab")
        connection.close()
        with pytest.raises(OSError):
            socket.create_connection((net.server_address, 23), timeout=0.5)
    assert daemon.callout("allow")["packets"] > 0
    assert daemon.callout("deny")["packets"] > 0


def test_delay_example_delays_web_answers_by_200_ms(start, net: Topology, background) -> None:
    daemon = start(example("delay"))
    background(net.host, "socat", "TCP-LISTEN:80,fork,reuseaddr", "SYSTEM:cat")
    background(net.host, "socat", "TCP-LISTEN:81,fork,reuseaddr", "SYSTEM:cat")

    def connect_time(port: int) -> float:
        with net.client.entered():
            wait_for(lambda: "81" in net.host.out("ss", "-ltn"), "both listen")
            begin = time.monotonic()
            socket.create_connection((net.router_address, port), timeout=5).close()
            return time.monotonic() - begin

    assert connect_time(81) < 0.1
    for _ in range(3):
        assert 0.2 <= connect_time(80) < 0.3
    queue = daemon.queue()
    assert queue["pended"] >= 3
    assert queue["pend-expired"] == 0


def test_delay_then_block_drops_after_the_time(start, sink, sender) -> None:
    daemon = start(
        policy(
            udp_to(PORT, "outbound-transport-v4", "callout-terminating", "slow"),
            "- { name: slow, type: delay, for: 300ms, then: block }",
        )
    )
    receiver = sink(PORT)
    begin = time.monotonic()
    sender(PORT).send(10)
    wait_for(lambda: daemon.queue()["pended-now"] == 10, "ten are held")
    wait_for(lambda: daemon.queue()["pended-now"] == 0, "they are decided")
    assert 0.29 <= time.monotonic() - begin < 0.5
    assert receiver.count() == 0
    queue = daemon.queue()
    assert (queue["blocked"], queue["waiting"]) == (10, 0)
