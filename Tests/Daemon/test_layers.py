# SPDX-License-Identifier: Apache-2.0
"""Layers that share a hook, and discard layers, from a policy file."""

from __future__ import annotations

import subprocess

from daemon import CALLOUTD, every, policy, udp_to
from netns import wait_for

PORT = 7060
CALLOUTS = "- { name: seen, type: inspect }\n- { name: dropped, type: inspect }"


def test_a_datagram_that_is_blocked_is_shown_at_the_discard_layer(start, sender) -> None:
    daemon = start(
        policy(
            every("datagram-data-v4", "callout-inspection", "seen")
            + udp_to(PORT, "outbound-transport-v4", "block")
            + every("outbound-transport-v4-discard", "callout-inspection", "dropped"),
            CALLOUTS,
        )
    )
    sender(PORT + 1).send(3)
    wait_for(lambda: daemon.callout("seen")["packets"] == 3, "three datagrams")
    sender(PORT).send(4)
    wait_for(lambda: daemon.callout("dropped")["packets"] == 4, "four that were blocked")
    assert daemon.callout("seen")["packets"] == 7
    assert daemon.queue()["blocked"] == 4


def test_an_icmp_error_is_matched_by_what_it_quotes(start, sender) -> None:
    condition = "{ field: embedded-remote-port, match: equal, value: %d }" % PORT
    daemon = start(
        policy(
            "- { name: quoted, layer: inbound-icmp-error-v4, conditions: [ %s ], action: block }"
            % condition
        )
    )
    sender(PORT + 1).send(1)
    wait_for(lambda: daemon.queue()["permitted"] >= 1, "an error about another port")
    sender(PORT).send(1)
    wait_for(lambda: daemon.queue()["blocked"] == 1, "an error about the port")


def test_what_a_layer_cannot_do_is_refused_with_its_place(tmp_path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        "filters:\n"
        "  - { name: a, layer: inbound-transport-v4-discard, action: block }\n"
        "  - name: b\n"
        "    layer: inbound-transport-v4\n"
        "    conditions: [ { field: profile-id, match: equal, value: 1 } ]\n"
        "    action: permit\n"
    )
    done = subprocess.run(
        [CALLOUTD, "check", "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert done.returncode != 0
    first = f"{file}:2:23: error: "
    assert any(line.startswith(first) and "only callout-inspection" in line for line in lines), lines
    second = f"{file}:5:28: error: "
    assert any(line.startswith(second) and "no network profiles" in line for line in lines), lines
