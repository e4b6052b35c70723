# SPDX-License-Identifier: Apache-2.0
"""`calloutctl trace`: whole lives with their times, by the real programs."""

from __future__ import annotations

import json
import re
import select
import subprocess
from collections.abc import Callable, Iterator

import pytest
from daemon import CALLOUTCTL, Daemon, Record, policy, udp_to
from netns import Topology, wait_for

SENT, DELIVERED, DROPPED = 7101, 7102, 7103
OUT, IN = "outbound-transport-v4", "inbound-ippacket-v4"
# The first packets may have been tagged before the trace began: then it shows only their ends.
ENOUGH = "20"
TAGS = "".join(
    f"- {{ name: {name}, type: tag, context: sequence }}\n" for name in ("sent", "read", "dropped")
)
POLICY = policy(
    udp_to(SENT, OUT, "callout-inspection", "sent")
    + udp_to(DELIVERED, IN, "callout-inspection", "read")
    + udp_to(DROPPED, OUT, "callout-inspection", "dropped"),
    TAGS,
)


@pytest.fixture
def daemon(start: Callable[..., Daemon]) -> Daemon:
    """A daemon that tags three kinds of datagrams."""
    return start(POLICY)


@pytest.fixture
def trace(daemon: Daemon, background: Callable) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `calloutctl trace`."""
    return lambda *words: background(
        daemon.space,
        *(CALLOUTCTL, "trace", *words, "--socket", str(daemon.socket)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], send: Callable[[], None]) -> str:
    """Sends until the trace has seen enough; what it printed."""

    def ended() -> bool:
        send()
        return process.poll() is not None

    wait_for(ended, "the trace ends", 20)
    output, errors = process.communicate(timeout=10)
    assert process.returncode == 0, errors
    return output


def lives(text: str) -> list[Record]:
    """The lives that `--json` printed."""
    return [json.loads(line) for line in text.splitlines()]


def check_times(life: Record) -> None:
    """Each event's times follow from the ones before."""
    first = before = life["events"][0]["time"]
    for event in life["events"]:
        assert event["since-first"] == event["time"] - first
        assert event["since-previous"] == event["time"] - before
        before = event["time"]
    assert life["duration"] == before - first


def test_a_transmitted_packet_s_life_as_json(net: Topology, trace, sender) -> None:
    words = ["--tag", "sent", "--count", ENOUGH, "--json"]
    found = lives(finish(trace(*words), sender(SENT, net.host).send))
    assert len(found) == len({life["context"] for life in found}) == int(ENOUGH)
    for life in found[-5:]:
        names = [event["event"] for event in life["events"]]
        assert names == ["entered_netio", "exit_netio", "send_complete", "context_removed"]
        assert (life["tag-name"], life["reason"]) == ("sent", "transmitted")
        assert life["associated-at"] == OUT
        assert life["events"][-1]["device"] == "outside"
        check_times(life)


def test_a_delivered_packet_s_life_as_text(net: Topology, trace, sender, sink) -> None:
    receiver = sink(DELIVERED, net.host)
    source = sender(DELIVERED, net.client, to=net.router_address)

    def send() -> None:
        source.send()
        receiver.count()

    text = finish(trace("--tag", "read", "--count", ENOUGH), send)
    head, *rows = text.rstrip().split("\n\n")[-1].splitlines()
    assert head.startswith("read=0x") and f" {IN}: delivered after " in head
    assert rows[0].split()[:4] == ["0.000", "ms", "+0.000", "entered_netio"]
    assert "context_removed" in rows[-1] and "delivered" in rows[-1]
    assert text.endswith("\n\n")


def test_a_drop_tells_why_and_where(net: Topology, trace, sender) -> None:
    rule = ["POSTROUTING", "-p", "udp", "--dport", str(DROPPED), "-j", "DROP"]
    net.host.run("iptables", "-t", "mangle", "-A", *rule)
    try:
        source = sender(DROPPED, net.host)
        text = finish(trace("--tag", "dropped", "--count", ENOUGH), source.send)
    finally:
        net.host.run("iptables", "-t", "mangle", "-D", *rule)
    last = text.rstrip().splitlines()[-1]
    assert re.search(r"dropped NETFILTER_DROP in \w+\+0x", last), last


def test_an_unknown_tag_is_refused(trace) -> None:
    process = trace("--tag", "nobody")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert 'no tag "nobody"' in errors


def test_the_daemon_s_end_ends_the_trace(daemon: Daemon, trace, sender, net: Topology) -> None:
    process = trace("--json")
    source = sender(SENT, net.host)

    def shown() -> bool:
        source.send()
        return bool(select.select([process.stdout], [], [], 0)[0])

    wait_for(shown, "the trace shows a life")
    assert daemon.stop() == 0
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 69
    assert "the daemon has stopped" in errors
