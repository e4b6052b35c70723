# SPDX-License-Identifier: Apache-2.0
"""Beside docker's, ufw's, firewalld's and plain iptables rules: both judge, and theirs stay."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from daemon import CALLOUTD, TAG, Daemon, every, policy, udp_to
from netns import Namespace, Topology, wait_for
from rulesets import RULESETS, Flow, Ruleset, clear, theirs
from traffic import Sender, Sink

LAYERS = (
    "inbound-ippacket",
    "inbound-transport",
    "ipforward",
    "outbound-transport",
    "outbound-ippacket",
)
INSPECTED = "".join(
    every(f"{layer}-v{version}", "callout-inspection", "numbered")
    for layer in LAYERS
    for version in (4, 6)
)
BLOCKED = udp_to(7290, "inbound-transport-v4", "block") + udp_to(7290, "ipforward-v4", "block")
# Held until the test ends.
HELD = (
    "- { name: hold, layer: outbound-transport-v4, sublayer: late, action: callout-terminating, "
    "callout: slow, conditions: [ { field: ip-remote-port, match: equal, value: 7210 } ] }\n"
)
SLOW = TAG + "\n- { name: slow, type: delay, for: 10m, then: permit }"
BY_NAME = {"ids": [each.name for each in RULESETS]}


@pytest.fixture(params=RULESETS, **BY_NAME)
def ruleset(request: pytest.FixtureRequest, net: Topology) -> Iterator[Ruleset]:
    """One tool's rules, loaded in the host."""
    request.param.load(net.host)
    yield request.param
    clear(net.host)


def space_of(net: Topology, name: str) -> Namespace:
    """The namespace of that name."""
    return {"client": net.client, "host": net.host, "server": net.server}[name]


def arrivals(net: Topology, flow: Flow, marker: Flow) -> int:
    """How many of three datagrams arrive until one of another flow, sent after them, has."""
    with contextlib.ExitStack() as stack:

        def open_sink(to: Flow) -> Sink:
            sink = Sink(space_of(net, to.sink), to.sink_port)
            return stack.enter_context(contextlib.closing(sink))

        sink, last = open_sink(flow), open_sink(marker)
        for to, count in ((flow, 3), (marker, 1)):
            sender = Sender(space_of(net, to.source), to.address, to.port)
            stack.enter_context(contextlib.closing(sender))
            for _ in range(count):
                # What firewalld rejects comes back as an error.
                with contextlib.suppress(OSError):
                    sender.send()
        last.expect(1)
        return sink.count()


def expect_both_judge(net: Topology, ruleset: Ruleset, daemon: Daemon) -> None:
    """What both permit arrives; what either blocks does not."""
    met = daemon.callout("numbered")["packets"]
    for flow in ruleset.allowed:
        with contextlib.closing(Sink(space_of(net, flow.sink), flow.sink_port)) as sink:
            sender = Sender(space_of(net, flow.source), flow.address, flow.port)
            with contextlib.closing(sender):
                sender.send(3)
                sink.expect(3)
    assert daemon.callout("numbered")["packets"] >= met + 6 * len(ruleset.allowed)
    assert arrivals(net, ruleset.denied, ruleset.allowed[0]) == 0, "theirs is not in force"
    blocked = daemon.queue()["blocked"]
    assert arrivals(net, ruleset.ours, ruleset.allowed[0]) == 0, "ours is not in force"
    assert daemon.queue()["blocked"] == blocked + 3


def test_theirs_alone_let_through_what_ours_will_block(net, ruleset) -> None:
    assert arrivals(net, ruleset.ours, ruleset.allowed[0]) == 3
    assert arrivals(net, ruleset.denied, ruleset.allowed[0]) == 0


@pytest.mark.parametrize("backend", ["auto", "iptables"])
def test_both_judge_and_nothing_of_theirs_changes(net, ruleset, prepare, backend) -> None:
    before = theirs(net.host)
    head = f"rules: {{ backend: {backend} }}\nqueues: {{ on-failure: block }}"
    daemon = prepare(policy(INSPECTED + BLOCKED, TAG, head))
    rules = (CALLOUTD, "rules", "{}", "--config", str(daemon.file))
    for command in ("apply", "remove"):
        net.host.run(*(word.format(command) for word in rules))
        assert theirs(net.host) == before, f"rules {command}"
    daemon.start()
    assert theirs(net.host) == before, "start"
    expect_both_judge(net, ruleset, daemon)
    daemon.write(policy(INSPECTED + BLOCKED + udp_to(7299, "ipforward-v4", "block"), TAG, head))
    assert daemon.ctl("reload").returncode == 0
    assert theirs(net.host) == before, "reload"
    expect_both_judge(net, ruleset, daemon)
    wait_for(lambda: daemon.status()["live"] == 0, "no context stays")
    assert daemon.stop() == 0
    assert theirs(net.host) == before, "stop"


@pytest.mark.parametrize("backend", ["auto", "iptables"])
def test_their_reload_leaves_both_in_force(net, ruleset, start, backend) -> None:
    head = f"rules: {{ backend: {backend} }}\nqueues: {{ on-failure: block }}"
    daemon = start(policy(INSPECTED + BLOCKED, TAG, head))
    before = theirs(net.host)
    for _ in range(2):
        ruleset.reload(net.host)
        assert theirs(net.host) == before
        assert daemon.status()["healthy"], daemon.status()["warnings"]
        expect_both_judge(net, ruleset, daemon)
    assert daemon.stop() == 0
    assert theirs(net.host) == before


def test_what_waits_outlives_their_reload_unless_they_unhook_a_chain(net, ruleset, start) -> None:
    """Whoever unhooks a base chain, as firewalld does, has the kernel drop all that waits."""
    head = "queues: { on-failure: block }\nsublayers:\n  - { name: late, weight: 1 }"
    daemon = start(policy(INSPECTED + BLOCKED + HELD, SLOW, head))
    sender = Sender(net.host, net.server_address, 7210)
    with contextlib.closing(sender):
        sender.send(5)
        wait_for(lambda: daemon.queue()["pended-now"] == 5, "five wait")
        ruleset.reload(net.host)
        unhooks = ruleset.name == "firewalld"
        left = 0 if unhooks else 5
        wait_for(lambda: daemon.queue()["waiting"] == left, "the kernel holds what is left")
        expect_both_judge(net, ruleset, daemon)
        wait_for(lambda: daemon.queue()["pended-now"] == left, "the daemon knows it")
        assert daemon.queue()["flushed"] == 5 - left
        if unhooks:
            assert daemon.status()["ended-by-reason"]["queue_flushed"] == 5
