# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: nothing is lost, nobody is flushed, nothing of ours stays."""

from __future__ import annotations

import json
import signal

import pytest
from daemon import CALLOUTCTL, CALLOUTD, TAG, every, policy, rules_of
from netns import wait_for

PORT = 7010
TAGGING = policy(
    every("outbound-transport-v4", "callout-inspection", "numbered")
    + every("outbound-ippacket-v4", "callout-inspection", "numbered"),
    TAG,
    "queues: { on-failure: permit }",
)


def holding(then: str, on_failure: str = "permit") -> str:
    """A policy that keeps UDP waiting for longer than any test."""
    return policy(
        every("outbound-transport-v4", "callout-inspection", "numbered")
        + "- { name: hold, layer: outbound-transport-v4, sublayer: late, "
        "action: callout-terminating, callout: slow, conditions: "
        f"[ {{ field: ip-remote-port, match: equal, value: {PORT} }} ] }}",
        TAG + f"\n- {{ name: slow, type: delay, for: 10m, then: {then} }}",
        f"queues: {{ on-failure: {on_failure} }}\nsublayers:\n  - {{ name: late, weight: 1 }}",
    )


def test_sigterm_leaves_nothing_behind(start, net) -> None:
    daemon = start(TAGGING)
    assert rules_of(net.host)["rules"] == 2
    assert daemon.socket.exists()
    assert daemon.stop() == 0
    assert rules_of(net.host) == {"chains": {}, "rules": 0}
    assert not daemon.socket.exists()
    assert "stopped" in daemon.log


def test_sigint_is_the_same(start, net) -> None:
    daemon = start(TAGGING)
    daemon.signal(signal.SIGINT)
    assert daemon.wait() == 0
    assert rules_of(net.host) == {"chains": {}, "rules": 0}


def test_sigterm_under_a_flood_loses_nothing(start, sink, flood) -> None:
    daemon = start(TAGGING)
    receiver = sink(PORT)
    source = flood(PORT, rate=50_000, seconds=2)
    wait_for(lambda: daemon.status()["packets"] > 20_000, "the flood is under way")
    assert daemon.stop() == 0
    stopped_at = receiver.count()
    receiver.expect(source.sent())
    assert receiver.received > stopped_at, "the flood ended before the daemon"


@pytest.mark.parametrize("then", ["permit", "block"])
def test_sigterm_decides_pended_packets_as_their_callout_said(start, sink, sender, then) -> None:
    daemon = start(holding(then, on_failure="block" if then == "permit" else "permit"))
    receiver = sink(PORT)
    sender(PORT).send(20)
    wait_for(lambda: daemon.queue()["pended-now"] == 20, "20 pended packets")
    assert receiver.count() == 0
    assert daemon.stop() == 0
    receiver.expect(20 if then == "permit" else 0)


def test_sigterm_sends_the_last_events_to_who_listens(start, sender, background) -> None:
    daemon = start(holding("block"))
    out = daemon.directory / "events"
    with out.open("w") as file:
        command = [CALLOUTCTL, "events", "--json", "--socket", str(daemon.socket)]
        client = background(daemon.space, *command, stdout=file)
    passing = sender(PORT + 1)

    def is_listening() -> bool:
        passing.send()
        return out.stat().st_size > 0

    wait_for(is_listening, "the client hears of packets that pass")
    sender(PORT).send(5)
    wait_for(lambda: daemon.queue()["pended-now"] == 5, "pended packets")
    assert daemon.stop() == 0
    assert client.wait(10) == 69
    events = [json.loads(line) for line in out.read_text().splitlines()]
    reasons = [event["reason"] for event in events if event["event"] == "context_removed"]
    assert reasons.count("blocked") == 5
    assert set(reasons) == {"transmitted", "blocked"}


def test_sigterm_does_not_flush_what_waits_in_anothers_queue(
    start, net, hold, sink, sender
) -> None:
    net.host.run("iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "7011", "-j", "NFQUEUE")
    other = hold(0)
    daemon = start(TAGGING)
    receiver = sink(7011)
    sender(7011).send(5)
    other.wait_until(5)
    assert daemon.stop() == 0
    assert other.waiting == 5
    left = rules_of(net.host)
    assert left["rules"] == 0
    assert len(left["chains"]) == 2
    assert "rules remove" in daemon.log
    remove = [CALLOUTD, "rules", "remove", "--config", str(daemon.file)]
    refused = net.host.run(*remove, check=False)
    assert refused.returncode == 1
    assert "queue 0: 5 waiting" in refused.stderr
    assert other.waiting == 5
    other.accept_all()
    other.wait_until(0)
    net.host.run(*remove)
    assert rules_of(net.host)["chains"] == {}
    receiver.expect(5)


def test_a_started_daemon_does_not_flush_anothers_queue(start, net, hold, sink, sender) -> None:
    net.host.run("iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "7011", "-j", "NFQUEUE")
    other = hold(0)
    receiver = sink(7011)
    sender(7011).send(5)
    other.wait_until(5)
    start(TAGGING)
    assert other.waiting == 5
    other.accept_all()
    receiver.expect(5)
