# SPDX-License-Identifier: Apache-2.0
"""F75: every packet that met the rules is accounted for, whatever became of it."""

from __future__ import annotations

import signal

import pytest
from daemon import TAG, Daemon, Record, every, policy
from netns import Topology, wait_for
from nfqueue import queue_status

PORT = 7080
LIMIT = 256


def text(on_failure: str) -> str:
    """A policy with a short queue that tags what the host sends."""
    return policy(
        every("outbound-transport-v4", "callout-inspection", "numbered"),
        TAG,
        f"queues: {{ on-failure: {on_failure}, max-length: {LIMIT} }}",
    )


def balance(queue: Record) -> None:
    """The two sums of the contract."""
    passes = queue["fail-open-passes"] or 0
    assert queue["rule-packets"] == queue["ids-issued"] + passes + queue["queue-dropped"], queue
    decided = queue["verdicts"] + queue["flushed"] + queue["id-gaps"] + queue["waiting"]
    assert queue["ids-issued"] == decided, queue


def paused_in_flood(daemon: Daemon, net: Topology, source, on_failure: str) -> None:
    """Stops the daemon as long as it takes for its queue to overflow, then lets it go on."""
    wait_for(lambda: daemon.status()["packets"] > 1000, "the flood is under way")
    daemon.pause()
    wait_for(lambda: queue_status(net.host)[31000][1] == LIMIT, "the queue is full")
    before = queue_status(net.host)[31000]
    if on_failure == "block":
        wait_for(lambda: queue_status(net.host)[31000][4] > before[4] + 5000, "the queue drops")
    else:
        # A queue that fails open shows nothing: what the rule counts must go on alone.
        counted = rule_packets(net)
        wait_for(lambda: rule_packets(net) > counted + 5000, "packets pass unseen")
    assert queue_status(net.host)[31000][6] == before[6], "no id is issued by a full queue"
    assert source.process.poll() is None, "the flood ended too early"
    daemon.signal(signal.SIGCONT)


def rule_packets(net: Topology) -> int:
    """What the rule itself has counted."""
    words = net.host.out("nft", "list", "table", "inet", "callout").split()
    return int(words[words.index("packets") + 1])


@pytest.mark.parametrize("on_failure", ["permit", "block"])
def test_f75_overflow_is_accounted_for(start, net, sink, flood, on_failure: str) -> None:
    daemon = start(text(on_failure))
    receiver = sink(PORT)
    source = flood(PORT, rate=20_000, seconds=3)
    paused_in_flood(daemon, net, source, on_failure)
    sent = source.sent()
    queue = daemon.wait_quiet()
    balance(queue)
    assert queue["rule-packets"] == sent
    assert queue["id-gaps"] == queue["flushed"] == queue["verdict-errors"] == 0
    assert queue["permitted"] == queue["packets"] == queue["ids-issued"] == queue["associated"]
    if on_failure == "permit":
        assert queue["fail-open-passes"] > 5000
        assert queue["queue-dropped"] == 0
        receiver.expect(sent)
    else:
        assert queue["fail-open-passes"] is None
        assert queue["queue-dropped"] > 5000
        receiver.expect(sent - queue["queue-dropped"])
    status = daemon.status()
    assert status["associated"] == status["live"] + status["ended"]
    wait_for(lambda: daemon.status()["live"] == 0, "no context stays")


@pytest.mark.parametrize("on_failure", ["permit", "block"])
def test_f75_full_speed_through_a_short_queue_is_accounted_for(
    start, sink, flood, on_failure: str
) -> None:
    daemon = start(text(on_failure).replace(str(LIMIT), "16"))
    receiver = sink(PORT)
    sent = flood(PORT, count=100_000).sent()
    queue = daemon.wait_quiet()
    balance(queue)
    assert queue["rule-packets"] == sent
    receiver.expect(sent - queue["queue-dropped"])
    assert daemon.status()["healthy"]


@pytest.mark.parametrize("on_failure", ["permit", "block"])
def test_f75_the_sums_hold_while_packets_wait(start, net, sink, sender, on_failure: str) -> None:
    """Pended packets fill the queue; what comes more meets the failure policy."""
    daemon = start(
        policy(
            every("outbound-transport-v4", "callout-terminating", "slow"),
            "- { name: slow, type: delay, for: 1500ms, then: permit }",
            f"queues: {{ on-failure: {on_failure}, max-length: {LIMIT} }}",
        )
    )
    receiver, source = sink(PORT), sender(PORT)
    source.send(LIMIT + 100)
    wait_for(lambda: daemon.queue()["pended-now"] == LIMIT, "the queue is full of pended packets")
    queue = daemon.queue()
    balance(queue)
    assert queue["waiting"] == LIMIT
    assert queue["ids-issued"] == LIMIT
    if on_failure == "permit":
        receiver.expect(100)
        assert queue["fail-open-passes"] == 100
    else:
        assert queue["queue-dropped"] == 100
    queue = daemon.wait_quiet()
    balance(queue)
    assert queue["verdicts"] == LIMIT
    receiver.expect(LIMIT + (100 if on_failure == "permit" else 0))


@pytest.mark.parametrize("on_failure", ["permit", "block"])
def test_f75_the_sums_hold_over_a_reload(start, sink, sender, on_failure: str) -> None:
    """Replaced rules count from 0 again; the sum does not."""
    daemon = start(text(on_failure))
    receiver, source = sink(PORT), sender(PORT)
    source.send(50)
    receiver.expect(50)
    both = every("outbound-transport-v4", "callout-inspection", "numbered") + every(
        "outbound-ippacket-v4", "callout-inspection", "numbered"
    )
    daemon.write(policy(both, TAG, f"queues: {{ on-failure: {on_failure}, max-length: {LIMIT} }}"))
    assert daemon.ctl("reload").returncode == 0
    source.send(50)
    receiver.expect(100)
    queue = daemon.wait_quiet()
    balance(queue)
    assert queue["rule-packets"] == queue["ids-issued"] == 150
