# SPDX-License-Identifier: Apache-2.0
"""Another program unhooks a chain, which empties every queue of the namespace."""

from __future__ import annotations

import signal

import pytest
from daemon import TAG, Daemon, every, policy
from netns import Topology, wait_for
from nfqueue import queue_status

PORT = 7090
THEIRS = "table inet theirs { chain c {\n type filter hook input priority 50\n }\n }"
HELD = policy(
    every("outbound-transport-v4", "callout-inspection", "numbered")
    + "- { name: hold, layer: outbound-transport-v4, sublayer: late, "
    "action: callout-terminating, callout: slow, conditions: "
    f"[ {{ field: ip-remote-port, match: equal, value: {PORT} }} ] }}",
    TAG + "\n- { name: slow, type: delay, for: 1m, then: permit }",
    "queues: { on-failure: block }\nsublayers:\n  - { name: late, weight: 1 }",
)


@pytest.fixture
def daemon(start, net: Topology) -> Daemon:
    """A daemon that holds UDP to one port, beside another program's chain."""
    net.host.nft(THEIRS)
    return start(HELD)


def flush(net: Topology) -> None:
    """What any firewall manager may do at any time."""
    net.host.run("nft", "delete", "table", "inet", "theirs")


def balance(daemon: Daemon) -> None:
    """Every id that was issued is accounted for."""
    queue = daemon.queue()
    decided = queue["verdicts"] + queue["flushed"] + queue["id-gaps"] + queue["waiting"]
    assert queue["ids-issued"] == decided, queue


def test_a_flush_of_pended_packets_is_noticed(daemon, net, sink, sender) -> None:
    receiver, passing, source = sink(PORT), sink(PORT + 1), sender(PORT)
    source.send(30)
    wait_for(lambda: daemon.queue()["pended-now"] == 30, "30 pended packets")
    flush(net)
    wait_for(lambda: daemon.queue()["flushed"] == 30, "the flush is noticed")
    status = daemon.status()
    assert status["ended-by-reason"] == {"queue_flushed": 30}
    assert status["live"] == 0
    queue = daemon.queue()
    assert (queue["pended-now"], queue["waiting"]) == (0, 0)
    balance(daemon)
    # It goes on.
    sender(PORT + 1).send(10)
    passing.expect(10)
    source.send(5)
    wait_for(lambda: daemon.queue()["pended-now"] == 5, "it pends again")
    assert daemon.status()["healthy"]
    assert daemon.stop() == 0
    receiver.expect(5)


def test_a_flush_under_traffic_is_noticed(daemon, net, sink, sender, flood) -> None:
    """The queue is never quite empty, yet the pended packets are known to be gone."""
    passing = sink(PORT + 1)
    source = flood(PORT + 1, rate=5_000, seconds=3)
    sender(PORT).send(30)
    wait_for(lambda: daemon.queue()["pended-now"] == 30, "30 pended packets")
    flush(net)
    wait_for(lambda: daemon.queue()["pended-now"] == 0, "the flush is noticed")
    sent = source.sent()
    queue = daemon.wait_quiet()
    assert queue["flushed"] >= 30
    assert passing.count() >= sent + 30 - queue["flushed"]
    assert daemon.status()["ended-by-reason"]["queue_flushed"] >= 30
    balance(daemon)


def test_a_flush_of_packets_not_yet_read_is_counted(daemon, net, sink, sender) -> None:
    """The daemon reads them and answers, but the kernel has dropped them meanwhile."""
    passing, source = sink(PORT + 1), sender(PORT + 1)
    daemon.pause()
    source.send(40)
    wait_for(lambda: queue_status(net.host)[31000][1] == 40, "40 wait")
    flush(net)
    assert queue_status(net.host)[31000][1] == 0
    daemon.signal(signal.SIGCONT)
    wait_for(lambda: daemon.queue()["packets"] == 40, "they are read")
    source.send(1)
    passing.expect(1)
    balance(daemon)
    assert daemon.queue()["flushed"] == 40
    assert daemon.queue()["verdicts"] == 1
