# SPDX-License-Identifier: Apache-2.0
"""What others do to our table and we to theirs: nothing of theirs is lost, ours comes back."""

from __future__ import annotations

import select
import subprocess

from daemon import CALLOUTCTL, CALLOUTD, TAG, every, policy, rules_of
from netns import wait_for

PORT = 7110
FILTERS = every("outbound-transport-v4", "callout-inspection", "numbered")
BOTH = FILTERS + every("outbound-ippacket-v4", "callout-inspection", "numbered")
THEIRS = """
table inet callout {
  set addresses { type ipv4_addr; elements = { 192.0.2.1 } }
  chain output { type filter hook output priority mangle; udp dport 7119 drop; }
  chain helper { accept; }
}
"""


def remove(net, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `calloutd rules remove`."""
    return net.host.run(CALLOUTD, "rules", "remove", *arguments, check=False)


def test_what_an_operator_keeps_in_our_table_outlives_the_daemon(start, net, sink, sender) -> None:
    net.host.run("nft", "-f", "-", stdin=THEIRS)
    before = net.host.run("nft", "-s", "list", "ruleset").stdout
    daemon = start(policy(BOTH, TAG))
    receiver, source = sink(PORT), sender(PORT)
    source.send(5)
    receiver.expect(5)
    assert daemon.status()["associated"] == 5
    daemon.write(policy(FILTERS, TAG))
    assert daemon.ctl("reload").returncode == 0
    assert daemon.stop() == 0
    assert net.host.run("nft", "-s", "list", "ruleset").stdout == before


def test_flushed_rules_show_and_a_reload_puts_them_back(start, net, sink, sender) -> None:
    daemon = start(policy(FILTERS, TAG))
    receiver, source = sink(PORT), sender(PORT)
    assert daemon.status()["healthy"]
    net.host.run("nft", "flush", "ruleset")
    status = daemon.status()
    assert not status["healthy"]
    assert any("run calloutctl reload" in warning for warning in status["warnings"])
    source.send(3)
    receiver.expect(3)
    assert daemon.status()["packets"] == 0
    assert daemon.ctl("reload").returncode == 0
    assert daemon.status()["healthy"]
    source.send(3)
    receiver.expect(6)
    wait_for(lambda: daemon.status()["associated"] == 3, "packets come again")


def test_a_second_daemon_with_our_table_is_refused(start, prepare, net) -> None:
    first = start(policy(FILTERS, TAG))
    before = rules_of(net.host)
    second = prepare(policy(FILTERS, TAG, "queues: { first: 32000 }"))
    second.spawn()
    assert second.wait() == 1
    assert f"queue 31000 of calloutd {first.pid}" in second.log
    assert "choose another table name" in second.log
    assert rules_of(net.host) == before
    assert first.status()["healthy"]


def test_rules_of_a_dead_daemon_are_taken_over(start, net) -> None:
    first = start(policy(FILTERS, TAG, "queues: { on-failure: block }"))
    chains = rules_of(net.host)["chains"]
    first.kill()
    second = start(policy(FILTERS, TAG, "queues: { first: 32000 }"))
    assert second.status()["healthy"]
    assert rules_of(net.host)["chains"] == chains


def test_rules_are_removed_without_a_policy_file(start, net) -> None:
    daemon = start(policy(FILTERS, TAG, "queues: { on-failure: block }"))
    daemon.kill()
    assert rules_of(net.host)["chains"]
    missing = remove(net, "--config", "/nonexistent/policy.yaml")
    assert missing.returncode == 1
    assert "give --table callout" in missing.stderr
    assert remove(net, "--table", "callout").returncode == 0
    assert rules_of(net.host)["chains"] == {}
    assert remove(net, "--table", "no;name").returncode == 1


def test_unmanaged_rules_that_name_no_queue_of_ours_are_told(start, net) -> None:
    daemon = start(policy(FILTERS, TAG, "rules: { manage: false }"))
    assert any("no rule names queue 31000" in each for each in daemon.status()["warnings"])


def test_the_totals_of_several_queues_are_in_status(start, net, sink, sender) -> None:
    daemon = start(policy(FILTERS, TAG, "queues: { count: 3 }"))
    receiver, source = sink(PORT), sender(PORT)
    source.send(20)
    receiver.expect(20)
    status = daemon.status()
    assert status["rule-packets"] == status["packets"] == 20
    assert status["fail-open-passes"] == 0


def test_what_a_reload_could_not_change_stays_in_status(start, net) -> None:
    daemon = start(policy(FILTERS, TAG))
    daemon.write(policy(FILTERS, TAG, "queues: { count: 2 }"))
    assert daemon.ctl("reload").returncode == 0
    note = "queues changed; restart calloutd to put it in force"
    assert note in daemon.status()["warnings"]
    daemon.write(policy(FILTERS, TAG))
    assert daemon.ctl("reload").returncode == 0
    assert note not in daemon.status()["warnings"]


def test_who_watches_events_learns_that_the_daemon_has_gone(start, net, sender) -> None:
    daemon = start(policy(FILTERS, TAG))
    source = sender(PORT)
    watcher = subprocess.Popen(
        [*net.host.prefix, CALLOUTCTL, "events", "--socket", str(daemon.socket)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def is_watching() -> bool:
        source.send(1)
        return bool(select.select([watcher.stdout], [], [], 0.1)[0])

    wait_for(is_watching, "an event is shown")
    daemon.kill()
    _, told = watcher.communicate(timeout=20)
    assert watcher.returncode == 69
    assert "the daemon has stopped" in told or "Connection reset" in told
