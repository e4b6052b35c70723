# SPDX-License-Identifier: Apache-2.0
"""F76: what happens when the daemon is killed, and when it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemon import CALLOUTD, TAG, Daemon, every, policy, rules_of
from netns import Topology, wait_for

PORT = 7001
# Two hooks in a row, so that a handle stays on the mark between them.
BOTH = every("outbound-transport-v4", "callout-inspection", "numbered") + every(
    "outbound-ippacket-v4", "callout-inspection", "numbered"
)


def text(on_failure: str, filters: str = BOTH, head: str = "") -> str:
    """A policy that tags what the host sends."""
    return policy(filters, TAG, f"queues: {{ on-failure: {on_failure} }}\n{head}")


def test_f76_killed_under_permit_new_traffic_takes_the_bypass(start, net, sink, sender) -> None:
    daemon = start(text("permit"))
    receiver, source = sink(PORT), sender(PORT)
    source.send(10)
    receiver.expect(10)
    daemon.kill()
    assert rules_of(net.host)["rules"] == 2
    source.send(10)
    receiver.expect(20, within=2)


def test_f76_killed_under_block_new_traffic_is_blocked(start, net, sink, sender) -> None:
    daemon = start(text("block"))
    receiver, source = sink(PORT), sender(PORT)
    source.send(10)
    receiver.expect(10)
    before = rules_of(net.host)
    daemon.kill()
    assert rules_of(net.host) == before
    source.send(10)
    daemon.start()
    source.send(1, b"after")
    wait_for(lambda: receiver.count() and receiver.last == b"after", "traffic after the restart")
    assert receiver.count() == 11


@pytest.mark.parametrize("on_failure", ["permit", "block"])
def test_f76_a_restart_replaces_leftover_rules_and_keeps_base_chains(
    start, net, sink, sender, on_failure: str
) -> None:
    daemon = start(text(on_failure))
    before = rules_of(net.host)
    assert len(before["chains"]) == 2
    daemon.kill()
    daemon.start()
    assert rules_of(net.host) == before
    receiver, source = sink(PORT), sender(PORT)
    source.send(10)
    receiver.expect(10)
    assert daemon.status()["associated"] == 10
    assert daemon.stop() == 0
    assert rules_of(net.host)["chains"] == {}


def test_f76_the_epoch_flips_at_each_start(start) -> None:
    daemon = start(text("permit"))
    kept = Path("/run/callout/epoch")
    epochs, files = [daemon.status()["epoch"]], [kept.read_text()]
    for _ in range(2):
        daemon.kill()
        daemon.start()
        epochs.append(daemon.status()["epoch"])
        files.append(kept.read_text())
    assert epochs in ([True, False, True], [False, True, False])
    assert files == ["1\n" if epoch else "0\n" for epoch in epochs]


def field(status: dict) -> tuple[int, int]:
    """Where the mark field begins, and the epoch's bit of this start."""
    mask = int(status["mark-mask"], 16)
    low = mask & -mask
    top = 1 << (mask.bit_length() - 1)
    return low, (top >> 1) if status["epoch"] else 0


def live_contexts(daemon: Daemon, source, count: int) -> None:
    """Has the daemon hold `count` packets of one flow, each with its own live handle."""
    source.send(count)
    wait_for(lambda: daemon.status()["live"] == count, f"{count} live contexts")


DELAY = TAG + "\n- { name: slow, type: delay, for: 4s, then: permit }"
HELD = (
    every("outbound-transport-v4", "callout-inspection", "numbered")
    + "- { name: hold, layer: outbound-transport-v4, sublayer: late, "
    "action: callout-terminating, callout: slow }"
)
LATE = "sublayers:\n  - { name: late, weight: 1 }\n"


def test_f76_handles_of_the_old_epoch_are_met_as_untagged(start, sender) -> None:
    """Hand-set marks with handle values that are live in the new epoch, on the same flow."""
    held = policy(HELD, DELAY, LATE)
    daemon = start(held)
    source = sender(PORT)
    live_contexts(daemon, source, 8)
    low, epoch = field(daemon.status())
    old = [number * low | epoch for number in range(1, 9)]
    daemon.kill()
    daemon.start()
    live_contexts(daemon, source, 8)
    assert field(daemon.status())[1] != epoch
    for mark in old:
        source.mark(mark | 1)
        source.send()
    wait_for(lambda: daemon.status()["live"] == 16, "a context of its own for each")
    status = daemon.status()
    assert status["stale-handles"] == 8
    assert status["copies"] == status["foreign-flows"] == 0
    assert status["associated"] == 16
    # The control: the same numbers in the present epoch are live, but other packets' handles.
    low, epoch = field(status)
    for number in range(1, 9):
        source.mark(number * low | epoch)
        source.send()
    wait_for(lambda: daemon.status()["foreign-flows"] == 8, "handles of this epoch are known")


def test_f76_connmarks_of_the_old_epoch_are_met_as_untagged(
    start, net: Topology, sink, sender
) -> None:
    """A rule saves the mark with the connection; the next packet bears it after the restart."""
    net.host.nft(
        """
        table inet replay {
          chain save {
            type filter hook output priority -100
            udp dport 7002 ct mark 0 ct mark set meta mark
          }
          chain restore {
            type filter hook output priority -180
            udp dport 7002 ct mark != 0 meta mark set ct mark
          }
        }
        """
    )
    head = "mark: { mask: 0x00ffff00, ignore-conflicts: true }"
    daemon = start(text("permit", head=head))
    receiver, source = sink(7002), sender(7002)
    source.send()
    receiver.expect(1)
    replayed = daemon.status()["stale-handles"]
    daemon.kill()
    daemon.start()
    source.send(5)
    receiver.expect(6)
    wait_for(lambda: daemon.status()["ended"] == 5, "their contexts end")
    status = daemon.status()
    assert status["stale-handles"] - replayed == 5
    assert status["associated"] == 5
    assert status["copies"] == status["foreign-flows"] == 0
    assert status["warnings"], "the conflict was to be ignored with a warning"


def test_rules_remove_takes_back_the_tracking_of_a_killed_daemon(start, net) -> None:
    flows = every("ale-auth-connect-v4", "callout-inspection", "numbered")
    daemon = start(policy(flows, TAG, ""))
    daemon.kill()
    assert "table inet callout_flows" in net.host.out("nft", "list", "tables")
    said = net.host.out(CALLOUTD, "rules", "remove", "--table", "callout")
    assert "removed the table callout_flows" in said
    assert net.host.out("nft", "list", "tables") == ""
