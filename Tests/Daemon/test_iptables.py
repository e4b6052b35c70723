# SPDX-License-Identifier: Apache-2.0
"""The iptables back end: the last resort works like the others, and leaves nothing."""

from __future__ import annotations

from daemon import TAG, every, policy, rules_of
from netns import Topology, wait_for

PORT = 7065
LAYERS = ("outbound-transport", "outbound-ippacket")
FILTERS = "".join(
    every(f"{layer}-v{version}", "callout-inspection", "numbered")
    for layer in LAYERS
    for version in (4, 6)
)


def text(on_failure: str = "permit") -> str:
    """A policy with the iptables back end."""
    head = f"rules: {{ backend: iptables }}\nqueues: {{ on-failure: {on_failure} }}"
    return policy(FILTERS, TAG, head)


def mangle(net: Topology) -> str:
    """Both families' mangle tables."""
    return "".join(
        net.host.out(program, "-t", "mangle") for program in ("iptables-save", "ip6tables-save")
    )


def test_iptables_start_traffic_stop_and_nothing_left(start, net, sink, sender) -> None:
    net.host.run("iptables", "-t", "mangle", "-A", "OUTPUT", "-p", "udp", "--dport", "1")
    daemon = start(text())
    assert daemon.status()["backend"] == "iptables"
    assert mangle(net).count("NFQUEUE") == 4
    assert "--queue-bypass" in mangle(net)
    assert rules_of(net.host)["chains"] == {}
    receiver, source = sink(PORT), sender(PORT)
    source.send(100)
    receiver.expect(100)
    net.host.run("ping", "-q", "-c5", "-i0.01", "fd00:2::2")
    wait_for(lambda: daemon.status()["ended"] >= 105, "their contexts end")

    def is_accounted() -> bool:
        # The kernel's own packets, as of neighbour discovery, may come between two readings.
        queue = daemon.queue()
        return bool(queue["rule-packets"] == queue["ids-issued"] >= 210)

    wait_for(is_accounted, "every packet at the rules has its id")
    assert daemon.stop() == 0
    left = mangle(net)
    assert "NFQUEUE" not in left and "CALLOUT" not in left.upper()
    assert "--dport 1" in left, "another's rule is gone"
    source.send()
    receiver.expect(101)


def test_iptables_killed_and_started_again(start, net, sink, sender) -> None:
    daemon = start(text("block"))
    receiver, source = sink(PORT), sender(PORT)
    source.send(5)
    receiver.expect(5)
    daemon.kill()
    assert mangle(net).count("NFQUEUE") == 4
    source.send(5)
    daemon.start()
    assert mangle(net).count("NFQUEUE") == 4
    source.send(1, b"after")
    wait_for(lambda: receiver.count() and receiver.last == b"after", "traffic after the restart")
    assert receiver.count() == 6
    assert daemon.stop() == 0
    assert "NFQUEUE" not in mangle(net)
