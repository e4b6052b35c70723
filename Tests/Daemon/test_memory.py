# SPDX-License-Identifier: Apache-2.0
"""The daemon's memory does not grow with the packets it has seen."""

from __future__ import annotations

from daemon import TAG, every, policy
from netns import Topology, wait_for
from nfqueue import queue_status

PORT = 7095
WARM_UP, MEASURED = 1_500_000, 500_000


def wait_issued(net: Topology, ids: int) -> None:
    """Waits for the kernel's count; asking the daemon would itself take memory."""
    wait_for(lambda: queue_status(net.host)[31000][6] >= ids, f"{ids} packets queued", 60)


def test_memory_is_flat_over_500000_tagged_packets(start, net, sink, flood) -> None:
    daemon = start(
        policy(
            every("outbound-transport-v4", "callout-inspection", "numbered")
            + every("outbound-ippacket-v4", "callout-inspection", "numbered"),
            TAG,
        )
    )
    sink(PORT).socket.setsockopt(1, 33, 65536)  # what does not fit is dropped at the receiver
    source = flood(PORT, seconds=120)
    wait_issued(net, 2 * WARM_UP)  # each packet meets two hooks
    before = daemon.resident_kilobytes()
    wait_issued(net, 2 * (WARM_UP + MEASURED))
    after = daemon.resident_kilobytes()
    source.process.kill()
    # A slower moment has more packets under way, so touches more of the table.
    assert after - before < 6144, f"{before} KiB before, {after} KiB after"
    wait_for(lambda: daemon.status()["live"] == 0, "no context stays")
    status = daemon.status()
    assert status["associated"] >= WARM_UP + MEASURED
    assert status["handles-refused"] == status["foreign-flows"] == status["copies"] == 0
