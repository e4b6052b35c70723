# SPDX-License-Identifier: Apache-2.0
"""The iptables back end decides filters in the kernel, with sets of ipset."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from daemon import CALLOUTD, TAG, policy
from netns import Namespace, Topology, wait_for

BLOCKED, PERMITTED, ASKED = 7071, 7072, 7073


def ports(name: str, port: int, action: str, callout: str = "") -> str:
    """A filter of what the host sends to a port by UDP over IPv4."""
    suffix = f", callout: {callout}" if callout else ""
    return (
        f"- {{ name: {name}, layer: outbound-transport-v4, action: {action}{suffix}, conditions: [\n"
        "    { field: ip-protocol, match: equal, value: udp },\n"
        f"    {{ field: ip-remote-port, match: equal, value: {port} }}] }}\n"
    )


TEXT = policy(
    ports("blocked", BLOCKED, "block")
    + ports("permitted", PERMITTED, "permit")
    + ports("asked", ASKED, "callout-inspection", "numbered"),
    TAG,
    "rules: { backend: iptables }",
)


def held(space: Namespace) -> list[str]:
    """What iptables and ipset hold of ours."""
    text = "".join(
        space.out(program, "-t", "mangle") for program in ("iptables-save", "ip6tables-save")
    )
    # Without the program there is none.
    text += space.run("sh", "-c", "ipset list -n", check=False).stdout
    return [line for line in text.splitlines() if "CALLOUT" in line]


@pytest.fixture
def no_ipset(net: Topology) -> Iterator[None]:
    """Hides the program, in this mount namespace."""
    program = shutil.which("ipset") or "/usr/sbin/ipset"
    subprocess.run(["mount", "--bind", "/etc/hostname", program], check=True)
    yield
    subprocess.run(["umount", program], check=True)


def test_iptables_decides_what_no_callout_wants(start, net: Topology, sink, sender) -> None:
    daemon = start(TEXT)
    receivers = {port: sink(port) for port in (BLOCKED, PERMITTED, ASKED)}
    for port, count in ((PERMITTED, 4), (ASKED, 5)):
        sender(port).send(count)
        receivers[port].expect(count)
    sender(BLOCKED).send(1)
    wait_for(lambda: daemon.callout("numbered")["packets"] == 5, "the callout has seen its packets")
    rows = {each["name"]: each for each in daemon.ask("filters")}
    assert {name: row["kernel-hits"] for name, row in rows.items()} == {
        "blocked": 1,
        "permitted": 4,
        "asked": 0,
    }
    assert daemon.queue()["rule-packets"] == 5
    assert receivers[BLOCKED].count() == 0
    assert not any("queued:" in line for line in daemon.status()["warnings"])
    assert daemon.status()["healthy"]
    assert daemon.stop() == 0
    assert held(net.host) == []


def test_iptables_filters_of_a_killed_daemon_stay_and_are_replaced(
    start, net: Topology, sink, sender
) -> None:
    daemon = start(TEXT)
    receiver = sink(PERMITTED)
    daemon.kill()
    blocked = sink(BLOCKED)
    sender(BLOCKED).send(1)
    sender(PERMITTED).send(1)
    receiver.expect(1)
    assert blocked.count() == 0
    daemon.start()
    sender(PERMITTED).send(2)
    receiver.expect(3)
    assert sum(each["kernel-hits"] for each in daemon.ask("filters")) == 2
    generations = {line.split("-")[1] for line in held(net.host) if line[0] == "C"}
    assert len(generations) == 1, generations
    assert daemon.ctl("status").returncode == 0
    daemon.kill()
    net.host.run(CALLOUTD, "rules", "remove", "--config", str(daemon.file))
    assert held(net.host) == []


@pytest.mark.usefixtures("no_ipset")
def test_without_ipset_everything_is_queued_and_said(start, net: Topology, sink, sender) -> None:
    daemon = start(TEXT)
    receiver = sink(PERMITTED)
    sender(PERMITTED).send(3)
    receiver.expect(3)
    assert daemon.queue()["rule-packets"] == 3
    assert any("install ipset" in line for line in daemon.status()["warnings"])
    daemon.kill()
    applied = net.host.run(
        CALLOUTD, "rules", "apply", "--config", str(daemon.file), check=False
    )
    assert applied.returncode == 1 and "install ipset" in applied.stderr
    assert len([line for line in held(net.host) if "NFQUEUE" in line]) == 1
    net.host.run(CALLOUTD, "rules", "remove", "--config", str(daemon.file))
