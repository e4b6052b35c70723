# SPDX-License-Identifier: Apache-2.0
"""SIGHUP and `calloutctl reload`: a policy is replaced without a packet or a chain lost."""

from __future__ import annotations

import json
import signal

from daemon import TAG, Daemon, every, policy, rules_of, udp_to
from netns import wait_for

PORT = 7020
OUTPUT = every("outbound-transport-v4", "callout-inspection", "numbered")
BOTH = OUTPUT + every("outbound-ippacket-v4", "callout-inspection", "numbered")
BLOCKING = BOTH + udp_to(7021, "outbound-transport-v4", "block")


def names(daemon: Daemon) -> list[str]:
    """The filters in force, as calloutctl shows them."""
    lines = daemon.ctl("filters", "--json").stdout.splitlines()
    return [json.loads(line)["name"] for line in lines]


def hang_up(daemon: Daemon, reloads: int) -> None:
    """Sends SIGHUP and waits until so many reloads have taken effect."""
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.status()["policy"]["reloads"] == reloads, "the new policy")


def test_sighup_puts_a_valid_policy_in_force(start, net, sink, sender) -> None:
    daemon = start(policy(BOTH, TAG))
    before = rules_of(net.host)
    receiver, source = sink(7021), sender(7021)
    source.send(3)
    receiver.expect(3)
    daemon.write(policy(BLOCKING, TAG))
    hang_up(daemon, 1)
    source.send(3)
    wait_for(lambda: daemon.queue()["blocked"] == 3, "the new filter blocks")
    assert receiver.count() == 3
    assert len(names(daemon)) == 3
    assert rules_of(net.host) == before
    assert "policy replaced" in daemon.log


def test_sighup_under_traffic_loses_no_packet_and_no_base_chain(start, net, sink, flood) -> None:
    daemon = start(policy(BOTH, TAG, "queues: { on-failure: block, max-length: 65536 }"))
    receiver = sink(PORT)
    before = rules_of(net.host)
    source = flood(PORT, rate=25_000, seconds=3)
    wait_for(lambda: daemon.status()["packets"] > 1000, "the flood is under way")
    for reload in range(1, 11):
        text = BLOCKING if reload % 2 else OUTPUT if reload % 4 == 0 else BOTH
        daemon.write(policy(text, TAG, "queues: { on-failure: block, max-length: 65536 }"))
        hang_up(daemon, reload)
    assert source.process.poll() is None, "the flood ended before the reloads"
    assert rules_of(net.host)["chains"] == before["chains"]
    receiver.expect(source.sent())
    status = daemon.status()
    assert status["associated"] == status["live"] + status["ended"]
    wait_for(lambda: daemon.status()["live"] == 0, "no context stays")


def test_a_broken_policy_is_logged_and_the_running_one_stays(start, net, sink, sender) -> None:
    daemon = start(policy(BLOCKING, TAG))
    before = rules_of(net.host)
    old = names(daemon)
    daemon.write(policy(BLOCKING, TAG).replace("action: block", "action: explode"))
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: "policy stays as it was" in daemon.log, "the error in the log")
    line = next(
        number
        for number, text in enumerate(daemon.file.read_text().splitlines(), 1)
        if "explode" in text
    )
    assert f"{daemon.file}:{line}:13: error: " in daemon.log
    assert names(daemon) == old
    assert rules_of(net.host) == before
    receiver, source = sink(7021), sender(7021)
    source.send(3)
    wait_for(lambda: daemon.queue()["blocked"] == 3, "the old filter still blocks")
    assert receiver.count() == 0


def test_a_policy_whose_file_is_gone_is_an_error_and_the_running_one_stays(start) -> None:
    daemon = start(policy(BOTH, TAG))
    daemon.file.unlink()
    done = daemon.ctl("reload")
    assert done.returncode == 1
    assert str(daemon.file) in done.stderr
    assert len(names(daemon)) == 2


def test_calloutctl_reload_tells_what_needs_a_restart(start) -> None:
    daemon = start(policy(BOTH, TAG))
    daemon.write(policy(BOTH, TAG, "queues: { max-length: 100 }"))
    report = json.loads(daemon.ctl("reload", "--json").stdout)
    assert report["filters"] == 2
    assert any("queues" in note for note in report["notes"])
    assert daemon.queue()["max-length"] == 8192


def test_contexts_live_on_over_a_reload(start, sender) -> None:
    head = "sublayers:\n  - { name: late, weight: 1 }"
    callouts = TAG + "\n- { name: slow, type: delay, for: 10m, then: permit }"
    hold = (
        "- { name: hold, layer: outbound-transport-v4, sublayer: late, "
        "action: callout-terminating, callout: slow }\n"
    )
    daemon = start(policy(OUTPUT + hold, callouts, head))
    sender(PORT).send(7)
    wait_for(lambda: daemon.status()["live"] == 7, "seven held packets")
    more = udp_to(7021, "outbound-transport-v4", "block")
    daemon.write(policy(OUTPUT + hold + more, callouts, head))
    hang_up(daemon, 1)
    assert daemon.status()["live"] == 7
    assert daemon.queue()["pended-now"] == 7
