# SPDX-License-Identifier: Apache-2.0
"""500 policies under load: nothing is lost, nothing judged by parts of two, no memory kept."""

from __future__ import annotations

from daemon import TAG, every, policy, udp_to
from netns import wait_for
from nfqueue import queue_status

PORT, OTHER = 7140, 7141
RELOADS, WARM_UP = 500, 100
FILLERS = 300
INSPECTED = every("outbound-transport-v4", "callout-inspection", "numbered") + every(
    "outbound-ippacket-v4", "callout-inspection", "numbered"
)


def weighed(port: int, weight: int, action: str) -> str:
    """A filter of the UDP packets to a port at a place of its own."""
    return udp_to(port, "outbound-transport-v4", action) + f"  weight: {weight}\n"


def text(is_odd: bool) -> str:
    """One of two policies that both permit PORT, each by other filters, and block OTHER.

    Odd ones permit it before a filter that blocks it; even ones have neither. Parts of both would
    block it.
    """
    first, last = ("permit", "block") if is_odd else ("block", "permit")
    filters = weighed(PORT if is_odd else OTHER, 90, first)
    filters += weighed(PORT, 10, last)
    if is_odd:
        filters += weighed(OTHER, 5, "block")
    for number in range(FILLERS):
        filters += weighed(20_000 + number + (FILLERS if is_odd else 0), 50, "block")
    head = "queues: { count: 2, on-failure: block, max-length: 65536 }"
    return policy(INSPECTED + filters.replace("- name: UDP", "- name: any UDP"), TAG, head)


def test_500_reloads_under_load(start, net, sink, sender, flood) -> None:
    texts = text(False), text(True)
    daemon = start(texts[1])
    receiver, blocked = sink(PORT), sink(OTHER)
    source = flood(PORT, rate=5000, seconds=600)
    other = sender(OTHER)
    before = 0

    def issued() -> int:
        return sum(row[6] for row in queue_status(net.host).values())

    for reload in range(1, RELOADS + 1):
        seen = issued()
        daemon.write(texts[reload % 2])
        assert daemon.ask("reload")[0].get("error") is None
        other.send()
        wait_for(lambda least=seen + 20: issued() >= least, "the flood goes on")
        if reload == WARM_UP:
            before = daemon.resident_kilobytes()
    grown = daemon.resident_kilobytes() - before
    assert source.process.poll() is None, "the flood ended before the reloads"
    source.process.terminate()
    sent = source.sent()
    receiver.expect(sent)
    assert blocked.count() == 0
    # A policy of these takes more than 100 KiB.
    assert grown < 16_384, f"{grown} KiB more after {RELOADS - WARM_UP} reloads"
    status = daemon.status()
    assert status["policy"]["reloads"] == RELOADS
    wait_for(lambda: daemon.status()["live"] == 0, "no context stays")
    status = daemon.status()
    # What was blocked did not come by the second hook, nor to a callout.
    assert status["packets"] == 2 * sent + RELOADS
    assert status["associated"] == status["ended"] == sent
