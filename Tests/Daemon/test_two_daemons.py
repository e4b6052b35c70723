# SPDX-License-Identifier: Apache-2.0
"""Two daemons in two namespaces do not know of each other."""

from __future__ import annotations

from daemon import TAG, every, policy, rules_of
from netns import Topology

PORT = 7070
TEXT = policy(
    every("outbound-transport-v4", "callout-inspection", "numbered")
    + every("outbound-ippacket-v4", "callout-inspection", "numbered"),
    TAG,
)


def test_two_daemons_in_two_namespaces_do_not_disturb_each_other(
    start, net: Topology, sink, sender
) -> None:
    first, second = start(TEXT), start(TEXT, net.client)
    try:
        receiver = sink(PORT)
        from_host, from_client = sender(PORT), sender(PORT, space=net.client)
        from_host.send(10)
        from_client.send(30)
        receiver.expect(40)
        assert (first.status()["associated"], second.status()["associated"]) == (40, 30), (
            "forwarded packets pass POSTROUTING"
        )
        before = rules_of(net.client)
        first.kill()
        from_client.send(10)
        receiver.expect(50)
        first.start()
        assert first.status()["associated"] == 0
        assert second.status()["associated"] == 40
        assert first.stop() == 0
        assert rules_of(net.host)["chains"] == {}
        assert rules_of(net.client) == before
        from_client.send(10)
        receiver.expect(60)
        status = second.status()
        assert status["healthy"] and status["associated"] == 50
        assert status["stale-handles"] == status["foreign-flows"] == status["copies"] == 0
        assert second.stop() == 0
        assert rules_of(net.client)["chains"] == {}
    finally:
        net.client.run("nft", "flush", "ruleset")
