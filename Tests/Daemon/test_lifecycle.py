# SPDX-License-Identifier: Apache-2.0
"""What the kernel tells of packets after their verdict, as operators see it."""

from __future__ import annotations

import ctypes
import json
import platform
import re

import pytest
from daemon import CALLOUTD, ROOT, TAG, Daemon, every, policy, watching
from netns import Namespace, wait_for

PORT = 7120
OUTPUT = every("outbound-transport-v4", "callout-inspection", "numbered")
INPUT = every("inbound-transport-v4", "callout-inspection", "numbered")
UNIT = ROOT / "Sources" / "calloutd" / "Install" / "calloutd.service"


def bpf_programs() -> set[int]:
    """The ids of all programs that are loaded into the kernel."""
    number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    found: set[int] = set()
    attribute = (ctypes.c_uint32 * 32)()
    while libc.syscall(number, 11, ctypes.byref(attribute), ctypes.sizeof(attribute)) == 0:
        found.add(attribute[1])
        attribute[0] = attribute[1]
    return found


def ends(lines: list[dict]) -> list[dict]:
    """The terminal events."""
    return [line for line in lines if line["event"] == "context_removed"]


def test_a_sent_packet_names_its_device(start, net, sender) -> None:
    daemon = start(policy(OUTPUT, TAG))
    source = sender(PORT)
    lines = watching(daemon, lambda: source.send(3), 3)
    assert daemon.status()["source"] == "kernel"
    assert {line["reason"] for line in ends(lines)} == {"transmitted"}
    assert all(line["device"] for line in ends(lines))
    assert {line["event"] for line in lines} == {
        "entered_netio", "exit_netio", "send_complete", "context_removed",
    }  # fmt: skip


def test_a_dropped_packet_names_reason_and_place(start, net, sender) -> None:
    net.host.run("iptables", "-A", "OUTPUT", "-p", "udp", "--dport", str(PORT), "-j", "DROP")
    daemon = start(policy(OUTPUT, TAG))
    source = sender(PORT)
    lines = watching(daemon, lambda: source.send(1), 1)
    (end,) = ends(lines)
    assert (end["reason"], end["drop-reason"]) == ("dropped", "NETFILTER_DROP")
    assert re.fullmatch(r"\w+(\.\w+)*\+0x[0-9a-f]+", end["place"])
    assert end["certainty"] == "exact"


def test_verdicts_alone_can_be_asked_for(start, net, sink, sender) -> None:
    daemon = start(policy(OUTPUT, TAG, "lifecycle: { source: verdicts }"))
    source = sender(PORT)
    lines = watching(daemon, lambda: source.send(1), 1)
    assert daemon.status()["source"] == "verdicts"
    assert [line["reason"] for line in ends(lines)] == ["released"]


def test_nothing_stays_in_the_kernel_when_the_daemon_dies(start, net, sender) -> None:
    before = bpf_programs()
    daemon = start(policy(OUTPUT, TAG))
    sender(PORT).send(5)
    wait_for(lambda: daemon.status()["associated"] == 5, "tagged packets")
    assert len(bpf_programs() - before) >= 5
    daemon.kill()
    wait_for(lambda: bpf_programs() <= before, "the programs are gone")


def capabilities(daemon_unit: str) -> list[str]:
    """What the unit's bounding set leaves, as setpriv writes it."""
    line = next(row for row in daemon_unit.splitlines() if row.startswith("CapabilityBoundingSet="))
    names = line.partition("=")[2].lower().split()
    return ["-all", *("+" + name.removeprefix("cap_") for name in names)]


def probe(space: Namespace, *prefix: str) -> dict[str, str]:
    """Each feature's support."""
    lines = space.out(*prefix, CALLOUTD, "probe", "--json").splitlines()
    return {each["name"]: each["support"] for each in map(json.loads, lines)}


@pytest.mark.skipif(not UNIT.exists(), reason="the unit is not in the guest lane's machine")
def test_the_capabilities_of_the_unit_suffice(net) -> None:
    bounded = "--bounding-set=" + ",".join(capabilities(UNIT.read_text()))
    assert probe(net.host, "setpriv", bounded) == probe(net.host)


@pytest.fixture
def without_bpf(prepare) -> Daemon:
    """A daemon that may not load programs into the kernel."""
    daemon: Daemon = prepare(policy(OUTPUT, TAG))
    daemon.spawn("setpriv", "--bounding-set=-all,+net_admin,+net_raw")
    wait_for(lambda: daemon.socket.exists() and daemon.status()["state"] == "running", "it runs")
    return daemon


def test_without_the_right_to_observe_the_verdicts_tell(without_bpf, net, sender) -> None:
    source = sender(PORT)
    lines = watching(without_bpf, lambda: source.send(1), 1)
    status = without_bpf.status()
    assert status["source"] == "verdicts"
    assert any("told by verdicts alone" in warning for warning in status["warnings"])
    assert [line["reason"] for line in ends(lines)] == ["released"]
    assert without_bpf.stop() == 0
