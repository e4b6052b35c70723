# SPDX-License-Identifier: Apache-2.0
"""The back end of nft's own `queue` statement, on kernels that have it."""

from __future__ import annotations

import json

import pytest
from daemon import CALLOUTD, TAG, every, policy, rules_of
from netns import Topology, wait_for

PORT = 7070
HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
LAYERS = (
    "inbound-ippacket",
    "inbound-transport",
    "ipforward",
    "outbound-transport",
    "outbound-ippacket",
)
FILTERS = "".join(
    every(f"{layer}-v{version}", "callout-inspection", "numbered")
    for layer in LAYERS
    for version in (4, 6)
)


pytestmark = pytest.mark.usefixtures("needs_nft_queue")


def text(on_failure: str = "permit", backend: str = "nft") -> str:
    """A policy of every hook and family."""
    head = f"rules: {{ backend: {backend} }}\nqueues: {{ count: 2, on-failure: {on_failure} }}\n"
    return policy(FILTERS, TAG, head + "lifecycle: { sweep-after: 500ms }")


def statements(net: Topology) -> list[str]:
    """The queue statements of our table, one a rule."""
    listed = net.host.run("nft", "list", "table", "inet", "callout", check=False).stdout
    return [line[line.index("queue ") :] for line in listed.splitlines() if "queue " in line]


@pytest.mark.parametrize("backend", ["nft", "auto"])
def test_native_start_traffic_stop_and_nothing_left(start, net, backend: str) -> None:
    daemon = start(text(backend=backend))
    assert statements(net) == ["queue flags bypass to 31000-31001"] * 2 * len(HOOKS)
    for address in ("fd00:2::2", net.server_address):
        net.host.run("ping", "-q", "-c10", "-i0.01", "-W2", address)
        net.client.run("ping", "-q", "-c10", "-i0.01", "-W2", address)
    hits = {each["layer"]: each["hits"] for each in daemon.ask("filters")}
    assert all(count >= 10 for count in hits.values()), hits
    shown = daemon.ctl("status", "--json")
    assert shown.returncode == 0, shown.stderr
    status = json.loads(shown.stdout)
    assert status["backend"] == "nft"
    # 20 pings from here, and 20 passed on, with an answer to each: a context of its own for each.
    assert status["associated"] >= 80
    wait_for(lambda: daemon.status()["live"] == 0, "no context stays")
    # Read first: neighbours ask for each other at any time. What is handed over from one queue to
    # the other has an id in both.
    met = daemon.status()["rule-packets"]
    assert 0 < met <= sum(daemon.wait_quiet(number)["ids-issued"] for number in range(2))
    assert daemon.stop() == 0
    assert net.host.out("nft", "list", "ruleset") == ""


def test_native_killed_under_permit_new_traffic_takes_the_bypass(start, net, sink, sender) -> None:
    daemon = start(text("permit"))
    receiver, source = sink(PORT), sender(PORT)
    source.send(10)
    receiver.expect(10)
    daemon.kill()
    source.send(10)
    receiver.expect(20)
    daemon.start()
    assert len(statements(net)) == 2 * len(HOOKS)
    source.send(10)
    receiver.expect(30)
    assert daemon.stop() == 0
    assert net.host.out("nft", "list", "ruleset") == ""


def test_native_killed_under_block_new_traffic_is_blocked(start, net, sink, sender) -> None:
    daemon = start(text("block"))
    assert statements(net) == ["queue to 31000-31001"] * 2 * len(HOOKS)
    before = rules_of(net.host)
    receiver, source = sink(PORT), sender(PORT)
    source.send(10)
    receiver.expect(10)
    daemon.kill()
    assert rules_of(net.host) == before
    source.send(10)
    daemon.start()
    source.send(1, b"after")
    wait_for(lambda: receiver.count() and receiver.last == b"after", "traffic after the restart")
    assert receiver.count() == 11
    assert rules_of(net.host) == before


def test_native_reload_keeps_the_chains(start, net, sink, sender) -> None:
    daemon = start(text("permit"))
    before = rules_of(net.host)
    receiver, source = sink(PORT), sender(PORT)
    daemon.write(text("block"))
    assert daemon.ctl("reload").returncode == 0
    assert rules_of(net.host)["chains"] == before["chains"]
    source.send(10)
    receiver.expect(10)
    assert daemon.status()["state"] == "running"


def test_native_printed_rules_load_as_they_are(start, net, sink, sender) -> None:
    daemon = start(text("permit"))
    applied = statements(net)
    printed = net.host.out(CALLOUTD, "rules", "print", "--config", str(daemon.file))
    net.host.nft(printed)
    assert statements(net) == applied
    receiver, source = sink(PORT), sender(PORT)
    source.send(10)
    receiver.expect(10)
    assert daemon.status()["packets"] >= 10
