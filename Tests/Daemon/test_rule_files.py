# SPDX-License-Identifier: Apache-2.0
"""The rule files of rules/, as they are, under a daemon that leaves rules alone."""

from __future__ import annotations

import shutil

import pytest
from daemon import ROOT, TAG, Daemon, every, policy, rules_of
from netns import Topology, wait_for

RULES = ROOT / "rules"
LAYERS = [
    f"{layer}-v{version}"
    for layer in ("inbound-ippacket", "inbound-transport", "ipforward")
    + ("outbound-transport", "outbound-ippacket")
    for version in (4, 6)
]
UNMANAGED = policy(
    "".join(every(layer, "callout-inspection", "numbered") for layer in LAYERS),
    TAG,
    "rules: { manage: false }\nqueues: { first: 31000, count: 2 }\n"
    "lifecycle: { sweep-after: 500ms }",
)
FRONT_ENDS = [
    pytest.param("", id="iptables"),
    pytest.param("-nft", id="nft front end"),
    pytest.param("-legacy", id="legacy front end"),
]


def programs(kind: str) -> tuple[str, str]:
    """The two front ends; skips where they are missing."""
    names = f"iptables{kind}", f"ip6tables{kind}"
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    return names


def restore(net: Topology, kind: str) -> None:
    """Loads both files by iptables-restore --noflush."""
    for program, family in zip(programs(kind), ("v4", "v6"), strict=True):
        text = (RULES / f"iptables.{family}.rules").read_text()
        net.host.run(f"{program}-restore", "--noflush", stdin=text)


def remove(net: Topology, kind: str) -> None:
    """Runs the script that takes the rules away."""
    v4, v6 = programs(kind)
    net.host.run(str(RULES / "iptables-remove.sh"), env={"IPTABLES": v4, "IP6TABLES": v6})


def traffic(net: Topology) -> None:
    """Packets through all five hooks in both families, none of which may be lost."""
    for address in ("fd00:1::1", "fd00:2::2", net.router_address, net.server_address):
        net.client.run("ping", "-q", "-c5", "-i0.01", "-W2", address)
    for address in ("fd00:2::2", net.server_address):
        net.host.run("ping", "-q", "-c10", "-i0.01", "-W2", address)


def check_all_hooks_tagged(daemon: Daemon) -> None:
    """Every filter has matched, and contexts were made and have ended."""
    hits = {each["layer"]: each["hits"] for each in daemon.ask("filters")}
    assert all(hits.values()), hits
    status = daemon.status()
    assert status["backend"] == "unmanaged"
    assert status["associated"] > 40
    wait_for(lambda: daemon.status()["live"] == 0, "no context stays")


@pytest.mark.parametrize("kind", FRONT_ENDS)
def test_iptables_files_bring_packets_of_all_hooks(start, net, kind: str) -> None:
    before = net.host.out(f"{programs(kind)[0]}-save", "-t", "mangle")
    assert "CALLOUT" not in before
    restore(net, kind)
    try:
        # With bypass nothing is lost while no daemon runs.
        traffic(net)
        daemon = start(UNMANAGED)
        traffic(net)
        check_all_hooks_tagged(daemon)
        assert rules_of(net.host) == {"chains": {}, "rules": 0}
        assert daemon.stop() == 0
        for program in programs(kind):
            assert "NFQUEUE" in net.host.out(f"{program}-save", "-t", "mangle")
    finally:
        remove(net, kind)
    for program in programs(kind):
        assert "CALLOUT" not in net.host.out(f"{program}-save", "-t", "mangle")
    remove(net, kind)


@pytest.mark.usefixtures("needs_nft_queue")
def test_nft_file_brings_packets_of_all_hooks(start, net) -> None:
    file = str(RULES / "inet.nft")
    net.host.run("nft", "-f", file)
    # With bypass nothing is lost while no daemon runs.
    traffic(net)
    daemon = start(UNMANAGED)
    traffic(net)
    check_all_hooks_tagged(daemon)
    # As after an edit: the rules are replaced at once, and the daemon goes on.
    net.host.run("nft", "-f", file)
    before = daemon.status()["associated"]
    traffic(net)
    assert daemon.status()["associated"] > before + 40
    assert rules_of(net.host)["rules"] == 10
    assert daemon.stop() == 0
    assert rules_of(net.host)["rules"] == 10, "the rules are not the daemon's"
    traffic(net)
    net.host.run("nft", "flush", "table", "inet", "callout")
    assert rules_of(net.host)["rules"] == 0
    traffic(net)


@pytest.mark.usefixtures("needs_nft_queue")
def test_nft_file_of_dns_brings_only_dns(start, net, sink, sender) -> None:
    net.host.run("nft", "-f", str(RULES / "inet-dns-only.nft"))
    daemon = start(UNMANAGED)
    traffic(net)
    other = sink(54)
    sender(54).send(5)
    other.expect(5)
    assert daemon.status()["packets"] == 0
    server = sink(53)
    sender(53).send(5)
    server.expect(5)
    assert daemon.status()["packets"] == 5
    sender(53, space=net.client).send(5)
    server.expect(10)
    assert daemon.status()["packets"] == 10, "those that are passed on come too"
    answered = sink(5300, space=net.host)
    sender(5300, space=net.client, to=net.router_address, source=53).send(5)
    answered.expect(5)
    assert daemon.status()["packets"] == 15
    daemon.kill()
    sender(53).send(5)
    server.expect(15)


def test_nft_files_are_sound_but_for_the_queue_expression(net: Topology) -> None:
    """What can be checked without the expression: everything else in the files."""
    for name in ("inet.nft", "inet-dns-only.nft", "bridge.nft"):
        text = (RULES / name).read_text()
        assert "queue flags bypass to 31000" in text
        for expression in ("queue flags bypass to 31000-31001", "queue flags bypass to 31000"):
            text = text.replace(expression, "accept")
        net.host.run("nft", "-c", "-f", "-", stdin=text)
