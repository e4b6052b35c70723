# SPDX-License-Identifier: Apache-2.0
"""Flows that their callouts have released pass in the kernel."""

from __future__ import annotations

import pytest
from daemon import Daemon, policy, udp_to
from netns import Namespace, wait_for
from rulesets import clear

PORT = 7300
FILTERS = udp_to(PORT, "outbound-transport-v4", "callout-terminating", "first")
CALLOUT = "- { name: first, type: inspect, packets-per-flow: 3 }"
BITS = "0x00f00000"
# What uses those bits of conntrack's mark, and how the message tells whose it is.
OTHERS = {
    "nft": (
        "nft add table inet them; nft add chain inet them c; "
        f"nft add rule inet them c ct mark and {BITS} == 0x00100000 accept",
        "nft: inet them c",
    ),
    "iptables": (
        f"iptables -t mangle -A PREROUTING -m connmark --mark 0x100000/{BITS} -j ACCEPT",
        "iptables: ip mangle PREROUTING",
    ),
    "iptables-saves-a-packets-mark": (
        f"iptables -t mangle -A PREROUTING -j CONNMARK --save-mark --nfmask {BITS} --ctmask {BITS}",
        "iptables: ip mangle PREROUTING",
    ),
    "iptables-legacy": (
        f"iptables-legacy -t mangle -A PREROUTING -m connmark --mark 0x100000/{BITS} -j ACCEPT",
        "iptables-legacy",
    ),
}


def text(choice: str, head: str = "") -> str:
    """A policy whose callout wants three packets of each flow."""
    return policy(FILTERS, CALLOUT, f"rules: {{ flow-bypass: {choice} }}\n{head}")


class Flow:
    """Datagrams of one flow, and how many of them the daemon meets."""

    def __init__(self, daemon: Daemon, sender, sink) -> None:
        self.daemon, self.source, self.receiver = daemon, sender(PORT), sink(PORT)
        self.sent = 0

    def queued(self, count: int) -> int:
        """Sends so many, all of which arrive; gives how many were queued."""
        before = self.daemon.queue()["packets"]
        self.source.send(count)
        self.sent += count
        self.receiver.expect(self.sent)
        return self.daemon.wait_quiet()["packets"] - before

    def is_passed(self) -> bool:
        """Sends a few; whether none was queued."""
        return self.queued(5) == 0


def test_a_released_flow_is_queued_no_more_until_a_reload(start, sender, sink) -> None:
    daemon = start(text("auto"))
    flow = Flow(daemon, sender, sink)
    assert flow.queued(2) == 2
    wait_for(flow.is_passed, "the flow passes in the kernel")
    assert flow.queued(50) == 0
    hits = next(each for each in daemon.ask("filters") if each["name"].startswith("UDP to"))
    assert hits["kernel-hits"] >= 50
    daemon.write(text("auto", "sublayers: [ { name: late, weight: 1 } ]"))
    assert daemon.ctl("reload").returncode == 0
    assert flow.queued(1) == 1
    wait_for(flow.is_passed, "it passes under the next policy too")
    assert daemon.status()["healthy"]


def test_another_flow_of_the_same_filter_is_queued(start, sender, sink) -> None:
    flow = Flow(start(text("auto")), sender, sink)
    wait_for(flow.is_passed, "the first flow passes in the kernel")
    flow.source = sender(PORT)
    assert flow.queued(1) == 1


def test_switched_off_all_are_queued(start, sender, sink) -> None:
    flow = Flow(start(text("off")), sender, sink)
    assert flow.queued(200) == 200


@pytest.mark.parametrize("means", OTHERS)
def test_a_connection_mark_of_anothers_is_refused_by_name_and_avoided(
    net, prepare, sender, sink, means: str
) -> None:
    command, place = OTHERS[means]
    net.host.run("sh", "-c", command)
    try:
        daemon = prepare(text("0x0ff00000"))
        daemon.spawn()
        assert daemon.wait() == 1
        assert place in daemon.log and "0xf00000" in daemon.log
        daemon.write(text("auto"))
        daemon.start()
        flow = Flow(daemon, sender, sink)
        wait_for(flow.is_passed, "the flow passes in the kernel")
        found = marks(net.host)
        assert any(found) and not any(mark & int(BITS, 16) for mark in found)
    finally:
        clear(net.host)


def marks(space: Namespace) -> list[int]:
    """The marks of the connections to the port."""
    lines = space.out("conntrack", "-L", "-p", "udp", "--dport", str(PORT)).splitlines()
    return [int(line.split("mark=")[1].split()[0]) for line in lines if "mark=" in line]
