# SPDX-License-Identifier: Apache-2.0
"""F51: what filters block is told to who listens, with the filter."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from daemon import CALLOUTCTL, TAG, every, policy, udp_to
from netns import wait_for

PORT = 7070
HEAD = "rules: { kernel-filters: off }"
DROP_KEYS = {
    "time", "event", "layer", "filter", "filter-id", "callout", "veto", "packet-id", "queue",
    "output", "length", "protocol", "source", "destination", "source-port", "destination-port",
}  # fmt: skip


class Listener:
    """`calloutctl events` and the lines that it has written."""

    def __init__(self, daemon, *arguments: str) -> None:
        self.out = daemon.directory / f"events-{time.monotonic_ns()}"
        command = [
            *daemon.space.prefix, CALLOUTCTL, "events", *arguments, "--socket", str(daemon.socket),
        ]  # fmt: skip
        with self.out.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, text=True)

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()

    def drops(self) -> list[dict[str, Any]]:
        """Blocks told so far."""
        events = [json.loads(line) for line in self.lines()]
        return [event for event in events if event["event"] == "classify_drop"]


def listening(daemon, sender, *arguments: str) -> Listener:
    """A listener that is known to hear: probes are sent until one is told."""
    listener = Listener(daemon, *arguments)
    probe = sender(PORT)

    def heard() -> bool:
        probe.send(1)
        return bool(listener.lines())

    try:
        wait_for(heard, "the listener hears")
    except BaseException:
        end(listener)
        raise
    return listener


def end(listener: Listener) -> None:
    listener.process.terminate()
    listener.process.wait(10)


def test_f51_a_block_is_told_with_its_filter_and_packet(start, sender) -> None:
    permitted = udp_to(PORT + 1, "outbound-transport-v4", "permit")
    blocked = udp_to(PORT, "outbound-transport-v4", "block")
    daemon = start(policy(permitted + blocked, "", HEAD))
    listener = listening(daemon, sender, "--json")
    try:
        before = len(listener.drops())
        count = daemon.queue()["blocked"]
        sender(PORT + 1).send(3)
        sender(PORT).send(2)
        wait_for(lambda: daemon.queue()["blocked"] == count + 2, "two more blocks")
        wait_for(lambda: len(listener.drops()) >= before + 2, "two more lines")
        for drop in listener.drops():
            assert set(drop) == DROP_KEYS, drop
            assert drop["filter"] == f"UDP to {PORT} at outbound-transport-v4"
            assert drop["filter-id"] == 1 and drop["veto"] is False and drop["callout"] is None
            assert (drop["layer"], drop["protocol"]) == ("outbound-transport-v4", 17)
            assert drop["destination-port"] == PORT and drop["length"] == 60
    finally:
        end(listener)


def test_f51_the_text_names_filter_and_ends(start, sender) -> None:
    daemon = start(policy(udp_to(PORT, "outbound-transport-v4", "block"), "", HEAD))
    listener = listening(daemon, sender)
    try:
        line = wait_for(lambda: next(iter(listener.lines()), None), "a line")
        assert f'classify_drop outbound-transport-v4 filter "UDP to {PORT} at' in line
        assert f":{PORT} out by " in line
    finally:
        end(listener)


def test_what_waits_and_is_blocked_later_is_not_told(start, sender) -> None:
    callouts = "- { name: slow, type: delay, for: 1ms, then: block }\n"
    daemon = start(
        policy(
            udp_to(PORT, "outbound-transport-v4", "block")
            + udp_to(PORT + 1, "outbound-transport-v4", "callout-terminating", "slow"),
            callouts,
            HEAD,
        )
    )
    listener = listening(daemon, sender, "--json")
    try:
        sender(PORT + 1).send(3)
        wait_for(lambda: daemon.queue()["pended"] >= 3, "three that wait")
        wait_for(lambda: daemon.queue()["pended-now"] == 0, "that they are blocked")
        before = len(listener.drops())
        sender(PORT).send(1)
        wait_for(lambda: len(listener.drops()) > before, "a block after them")
        assert {drop["filter-id"] for drop in listener.drops()} == {0}
    finally:
        end(listener)


def test_events_of_one_tag_have_no_blocks_among_them(start, sender) -> None:
    tagged = every("outbound-transport-v4", "callout-inspection", "numbered")
    blocked = udp_to(PORT, "outbound-transport-v4", "block")
    filters = tagged.replace(" }", ", weight: 9 }") + blocked + "  weight: 1\n"
    daemon = start(policy(filters, TAG, HEAD))
    listener = listening(daemon, sender, "--json", "--tag", "numbered")
    try:
        sender(PORT).send(5)
        wait_for(lambda: len(listener.lines()) >= 6, "events of the tag")
        assert listener.drops() == []
    finally:
        end(listener)
