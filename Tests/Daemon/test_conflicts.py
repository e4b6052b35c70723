# SPDX-License-Identifier: Apache-2.0
"""Marks and queues that others use, by whatever means: found, named, and kept clear of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from daemon import CALLOUTD, TAG, every, policy, rules_of
from netns import Topology
from rulesets import clear

FILTERS = every("outbound-transport-v4", "callout-inspection", "numbered")
MANGLE = "-t mangle -A PREROUTING -i nowhere"
# What uses the bits 0x00f00000 of packet marks, and how the message tells whose it is.
MARKS = {
    "nft": (
        ["nft", "add table inet them; add chain inet them c; "
         "add rule inet them c meta mark & 0x00f00000 == 0x00100000 accept"],
        "nft: inet them c",
    ),
    "nft-writes": (
        ["nft", "add table inet them; add chain inet them c; "
         "add rule inet them c meta mark set mark & 0xff0fffff ^ 0x00100000"],
        "nft: inet them c",
    ),
    "iptables": (
        f"iptables {MANGLE} -m mark --mark 0x100000/0xf00000 -j ACCEPT".split(),
        "iptables: ip mangle PREROUTING",
    ),
    "iptables-restores-a-connection-mark": (
        f"iptables {MANGLE} -j CONNMARK --restore-mark --nfmask 0xf00000 --ctmask 0xf00000".split(),
        "iptables: ip mangle PREROUTING",
    ),
    "ip6tables": (
        f"ip6tables {MANGLE} -j MARK --set-xmark 0x100000/0xf00000".split(),
        "iptables: ip6 mangle PREROUTING",
    ),
    "iptables-legacy": (
        f"iptables-legacy {MANGLE} -j MARK --set-xmark 0x100000/0xf00000".split(),
        "iptables-legacy",
    ),
    "iptables-legacy-saves-a-mark": (
        f"iptables-legacy {MANGLE} -j CONNMARK --save-mark --nfmask 0xf00000 --ctmask 0xf00000"
        .split(),
        "iptables-legacy",
    ),
    "ip-rule": (
        "ip rule add fwmark 0x100000/0xf00000 lookup main".split(),
        "ip rule: ip rule",
    ),
    "ip-6-rule": (
        "ip -6 rule add fwmark 0x100000/0xf00000 lookup main".split(),
        "ip rule: ip -6 rule",
    ),
}  # fmt: skip
# What names our queue 31000.
QUEUES = {
    "iptables": f"iptables {MANGLE} -j NFQUEUE --queue-num 31000",
    "iptables-balance": f"iptables {MANGLE} -j NFQUEUE --queue-balance 30990:31001",
    "ip6tables": f"ip6tables {MANGLE} -j NFQUEUE --queue-num 31000 --queue-bypass",
    "iptables-legacy": f"iptables-legacy {MANGLE} -j NFQUEUE --queue-num 31000",
}


@pytest.fixture
def others(net: Topology) -> Iterator[Topology]:
    """A host whose rules of all kinds are gone at the end."""
    yield net
    clear(net.host)
    for family in ("-4", "-6"):
        net.host.run("ip", family, "rule", "del", "fwmark", "0x100000/0xf00000", check=False)


@pytest.mark.parametrize("means", MARKS)
def test_a_mark_of_anothers_is_refused_by_name_and_avoided(others, prepare, means) -> None:
    command, place = MARKS[means]
    others.host.run(*command)
    daemon = prepare(policy(FILTERS, TAG, "mark: { mask: 0x00ffff00 }"))
    daemon.spawn()
    assert daemon.wait() == 1
    assert "mark mask 0xffff00 is used by other rules" in daemon.log
    assert f"0xf00000 by {place}" in daemon.log
    assert rules_of(others.host)["chains"] == {}
    daemon.write(policy(FILTERS, TAG))
    daemon.start()
    assert int(daemon.status()["mark-mask"], 16) & 0x00F00000 == 0
    assert daemon.stop() == 0


def test_a_connections_mark_put_on_packets_leaves_no_bit_free(others, prepare) -> None:
    others.host.nft("table inet them { chain c {\n meta mark set ct mark & 0x00f00000\n }\n}")
    daemon = prepare(policy(FILTERS, TAG))
    daemon.spawn()
    assert daemon.wait() == 1
    assert "no run of 8 free mark bits is left" in daemon.log
    assert "0xffffffff by nft: inet them c" in daemon.log


def test_a_connections_mark_alone_is_no_conflict(others, start) -> None:
    others.host.nft("table inet them { chain c {\n ct mark & 0x00f00000 == 0x00100000 accept\n }\n}")
    rule = f"iptables {MANGLE} -m connmark --mark 0x100000/0xf00000 -j ACCEPT"
    others.host.run(*rule.split())
    daemon = start(policy(FILTERS, TAG, "mark: { mask: 0x00ffff00 }"))
    assert daemon.status()["healthy"]


@pytest.mark.parametrize("means", QUEUES)
def test_a_rule_of_anothers_that_names_our_queue_is_told(others, start, means) -> None:
    others.host.run(*QUEUES[means].split())
    warnings = start(policy(FILTERS, TAG)).status()["warnings"]
    assert any("also names queue 31000" in each or "names queue 30990" in each for each in warnings)
    assert any("PREROUTING" in each for each in warnings), warnings


@pytest.mark.parametrize(
    ("backend", "command"),
    [
        ("auto", "nft insert rule inet callout output accept"),
        ("iptables", "iptables -t mangle -I CALLOUT-OUTPUT 1 -j ACCEPT"),
    ],
)
def test_a_rule_of_anothers_before_ours_is_told(others, start, backend, command) -> None:
    daemon = start(policy(FILTERS, TAG, f"rules: {{ backend: {backend} }}"))
    assert daemon.status()["healthy"]
    others.host.run(*command.split())
    status = daemon.status()
    assert not status["healthy"]
    assert any("may decide before ours" in each for each in status["warnings"]), status["warnings"]
    done = others.host.run(CALLOUTD, "rules", "diff", "--config", str(daemon.file), check=False)
    assert "may decide before ours" in done.stderr


def test_who_replaces_all_of_iptables_mangle_table_is_told_of(others, start, sink, sender) -> None:
    saved = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp --dport 1 -j ACCEPT\nCOMMIT\n"
    daemon = start(policy(FILTERS, TAG, "rules: { backend: iptables }"))
    receiver, source = sink(7150), sender(7150)
    source.send(2)
    receiver.expect(2)
    packets = daemon.status()["packets"]
    others.host.run("iptables-restore", stdin=saved)
    status = daemon.status()
    assert not status["healthy"]
    assert any("run calloutctl reload" in each for each in status["warnings"])
    source.send(2)
    receiver.expect(4)
    assert daemon.status()["packets"] == packets
    assert daemon.ctl("reload").returncode == 0
    assert daemon.status()["healthy"]
    source.send(2)
    receiver.expect(6)
    assert "--dport 1 -j ACCEPT" in others.host.out("iptables-save", "-t", "mangle")
