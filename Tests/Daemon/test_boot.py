# SPDX-License-Identifier: Apache-2.0
"""Boot-time filters: in force from `calloutd rules apply --boot` until the daemon's own rules stand."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable

import pytest
from daemon import CALLOUTD, TAG, Daemon, policy, rules_of
from netns import Topology, wait_for
from traffic import Sender, Sink

OPEN, SHUT, LATER = 7301, 7302, 7303
BOOT = "callout_boot"


def filters(layer: str) -> str:
    """Until the daemon runs only one port; then all but another."""
    local = "ip-local" if layer.startswith("inbound") else "ip-remote"

    def udp_to(port: int) -> str:
        return (
            "[ { field: ip-protocol, match: equal, value: udp }, "
            f"{{ field: {local}-port, match: equal, value: {port} }} ]"
        )

    return f"""
- name: first the open port
  layer: {layer}
  sublayer: high
  conditions: {udp_to(OPEN)}
  action: permit
  flags: [boot-time, clear-action-right]
- name: and no other
  layer: {layer}
  conditions: [ {{ field: ip-protocol, match: equal, value: udp }} ]
  action: block
  flags: [boot-time]
- name: not this one later
  layer: {layer}
  conditions: {udp_to(LATER)}
  action: block
- name: seen
  layer: {layer}
  conditions: {udp_to(SHUT)}
  action: callout-inspection
  callout: numbered
"""


HEAD = "sublayers:\n  - { name: high, weight: 0xf000 }"


def calloutd(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `calloutd` on the daemon's policy."""
    return daemon.space.run(
        CALLOUTD, *arguments, "--config", str(daemon.file), check=False, timeout=30
    )


def apply_boot(daemon: Daemon) -> None:
    """Puts the boot-time filters in force."""
    done = calloutd(daemon, "rules", "apply", "--boot")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    "layer", ["outbound-transport", "outbound-ippacket", "inbound-transport", "inbound-ippacket"]
)
def test_boot_filters_act_until_the_daemon_runs(
    prepare, net: Topology, closing: Callable, layer: str, version: int
) -> None:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    inbound = layer.startswith("inbound")
    source, target = (net.server, net.host) if inbound else (net.host, net.server)
    end = "1" if inbound else "2"
    address = f"10.0.2.{end}" if version == 4 else f"fd00:2::{end}"
    sinks = {port: closing(Sink(target, port, family)) for port in (OPEN, SHUT, LATER)}
    senders = {port: closing(Sender(source, address, port)) for port in (OPEN, SHUT, LATER)}

    expected = {OPEN: 0, SHUT: 0, LATER: 0}

    def expect(*ports: int) -> None:
        """Of a datagram to each port those to these come through, and no other ever has."""
        for each in senders.values():
            each.send()
        for port in ports:
            expected[port] += 1
        wait_for(
            lambda: all(sinks[port].count() >= expected[port] for port in ports), f"{ports}"
        )
        assert {port: sink.count() for port, sink in sinks.items()} == expected

    daemon = prepare(policy(filters(f"{layer}-v{version}"), TAG, HEAD))
    expect(OPEN, SHUT, LATER)
    apply_boot(daemon)
    expect(OPEN)
    apply_boot(daemon)
    expect(OPEN)
    daemon.start()
    expect(OPEN, SHUT)
    daemon.kill()
    # Its own rules stay, those of the boot do not come back.
    expect(OPEN, SHUT)
    daemon.start()
    expect(OPEN, SHUT)
    assert daemon.stop() == 0
    expect(OPEN, SHUT, LATER)
    assert net.host.out("nft", "list", "tables") == ""


def test_the_end_of_boot_time_drops_nothing_that_waits(prepare, net, hold, sink, sender) -> None:
    net.host.run(
        "iptables", "-t", "mangle", "-A", "POSTROUTING", "-p", "udp", "--dport", str(OPEN),
        "-j", "NFQUEUE", "--queue-num", "7",
    )  # fmt: skip
    others = hold(7)
    daemon = prepare(policy(filters("outbound-transport-v4"), TAG, HEAD))
    apply_boot(daemon)
    receiver, source = sink(OPEN), sender(OPEN)
    source.send(5)
    others.wait_until(5)
    chains = rules_of(net.host, BOOT)["chains"]
    apply_boot(daemon)
    daemon.start()
    assert others.waiting == 5
    # The base chain stays where it is, empty.
    after = rules_of(net.host, BOOT)
    assert after["rules"] == 0
    assert after["chains"] == {"output": chains["output"]}
    daemon.kill()
    done = calloutd(daemon, "rules", "remove")
    assert done.returncode == 1
    assert "queue 7: 5 waiting" in done.stderr
    assert others.waiting == 5
    others.accept_all()
    receiver.expect(5)
    done = calloutd(daemon, "rules", "remove")
    assert (done.returncode, done.stderr) == (0, "")
    tables = net.host.out("nft", "list", "tables")
    assert BOOT not in tables
    assert "inet callout" not in tables


def test_boot_rules_are_printed_and_go_with_the_others(prepare, net) -> None:
    daemon = prepare(policy(filters("outbound-transport-v4"), TAG, HEAD))
    text = calloutd(daemon, "rules", "print", "--boot").stdout
    assert f"table inet {BOOT} {{" in text
    assert "not this one later" not in text
    assert "queue" not in text
    assert "and no other" not in calloutd(daemon, "rules", "print").stdout
    apply_boot(daemon)
    assert rules_of(net.host, BOOT)["rules"] > 0
    done = net.host.run(CALLOUTD, "rules", "remove", "--table", "callout")
    assert done.returncode == 0
    assert net.host.out("nft", "list", "tables") == ""


def test_boot_rules_are_refused_beside_a_running_daemon(start, net) -> None:
    daemon = start(policy(filters("outbound-transport-v4"), TAG, HEAD))
    done = calloutd(daemon, "rules", "apply", "--boot")
    assert done.returncode == 1
    assert "act until calloutd's own rules stand" in done.stderr
    assert rules_of(net.host, BOOT)["chains"] == {}


def test_a_policy_without_boot_filters_takes_them_away(prepare, net) -> None:
    daemon = prepare(policy(filters("outbound-transport-v4"), TAG, HEAD))
    apply_boot(daemon)
    daemon.write("{}")
    apply_boot(daemon)
    assert rules_of(net.host, BOOT)["rules"] == 0


def test_boot_rules_and_the_iptables_back_end_are_refused(prepare) -> None:
    head = "rules: { backend: iptables }\n" + HEAD
    daemon = prepare(policy(filters("outbound-transport-v4"), TAG, head))
    done = calloutd(daemon, "rules", "apply", "--boot")
    assert done.returncode == 1
    assert "boot-time filters are rules of nft" in done.stderr


def test_the_daemon_ends_boot_time_also_where_the_rules_are_others(prepare, net) -> None:
    daemon = prepare(
        policy(filters("outbound-transport-v4"), TAG, "rules: { manage: false }\n" + HEAD)
    )
    apply_boot(daemon)
    assert rules_of(net.host, BOOT)["rules"] > 0
    daemon.start()
    assert rules_of(net.host, BOOT)["rules"] == 0


@pytest.mark.parametrize("version", [4, 6])
def test_icmp_errors_are_none_of_the_transport_layers(
    prepare, net: Topology, closing: Callable, version: int
) -> None:
    """As while the daemon runs: a port that is closed says so, although nothing else may leave."""
    text = policy(
        f"- {{ name: silence, layer: outbound-transport-v{version}, action: block, "
        "flags: [boot-time] }"
    )
    address = "10.0.1.1" if version == 4 else "fd00:1::1"
    ping = ["ping", "-c1", "-W1", "-q", address]
    assert net.client.run(*ping, check=False).returncode == 0
    apply_boot(prepare(text))
    with net.client.entered():
        asker = closing(
            socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        )
    asker.settimeout(5)
    asker.connect((address, SHUT))
    asker.send(b"x")
    with pytest.raises(ConnectionRefusedError):
        asker.recv(1)
    assert net.client.run(*ping, check=False).returncode != 0


def test_a_daemon_that_cannot_start_leaves_them_in_force(prepare, net, hold) -> None:
    daemon = prepare(policy(filters("outbound-transport-v4"), TAG, HEAD))
    apply_boot(daemon)
    before = rules_of(net.host, BOOT)
    assert before["rules"] > 0
    hold(31000)
    daemon.spawn()
    assert daemon.wait() == 1
    assert rules_of(net.host, BOOT) == before


def test_a_daemon_whose_metrics_port_is_taken_leaves_them_in_force(prepare, net) -> None:
    head = f"{HEAD}\nmetrics: {{ listen: 127.0.0.1:9469 }}"
    daemon = prepare(policy(filters("outbound-transport-v4"), TAG, head))
    apply_boot(daemon)
    before = rules_of(net.host, BOOT)
    with net.host.entered(), socket.create_server(("127.0.0.1", 9469)):
        daemon.spawn()
        assert daemon.wait() == 1
    assert "127.0.0.1:9469" in daemon.log
    assert before["rules"] > 0 and rules_of(net.host, BOOT) == before
