# SPDX-License-Identifier: Apache-2.0
"""A start that cannot be: each cause has a message that names it, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import CALLOUTD, TAG, every, policy, rules_of
from netns import Topology, wait_for
from nfqueue import queue_status

FILTERS = every("outbound-transport-v4", "callout-inspection", "numbered")
UNPRIVILEGED = ["setpriv", "--reuid=nobody", "--clear-groups", "--inh-caps=-all"]


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory in which anybody may write."""
    directory = Path(tempfile.mkdtemp(prefix="callout-public-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def refused_start(daemon, net: Topology, code: int = 1) -> str:
    """Starts it; it must end with `code` and leave nothing. Gives its log."""
    before = queue_status(net.host)
    daemon.spawn()
    assert daemon.wait() == code, daemon.log
    assert queue_status(net.host) == before
    assert rules_of(net.host) == {"chains": {}, "rules": 0}
    return daemon.log


def test_a_queue_of_anothers_is_named_by_port_and_process(net, prepare, hold) -> None:
    other = hold(31001)
    daemon = prepare(policy(FILTERS, TAG, "queues: { count: 2 }"))
    log = refused_start(daemon, net)
    assert f"queue 31001 is bound by netlink port {other.port_id}" in log
    assert "stopped" not in log, "it never ran"
    assert "queues.first" in log
    if other.port_id == os.getpid():
        assert Path("/proc/self/comm").read_text().strip() in log
    assert not daemon.socket.exists()


def test_a_queue_of_a_running_calloutd_is_named_by_process(net, prepare, start) -> None:
    first = start(policy(FILTERS, TAG))
    before = rules_of(net.host)
    second = prepare(policy(FILTERS, TAG))
    second.spawn()
    assert second.wait() == 1
    assert f"queue 31000 is bound by netlink port {first.pid} (process calloutd)" in second.log
    assert rules_of(net.host) == before, "the second start has touched the first one's rules"
    assert first.status()["healthy"]


def test_a_second_daemon_on_the_same_socket_is_refused(net, prepare, start) -> None:
    first = start(policy(FILTERS, TAG))
    second = prepare(policy(FILTERS, TAG, "queues: { first: 32000 }"))
    second.socket = first.socket
    second.spawn()
    assert second.wait() == 1
    assert "another calloutd holds it" in second.log
    assert first.socket.exists()
    assert first.status()["state"] == "running"


def test_without_privilege_the_message_names_the_capability(net, prepare, public) -> None:
    daemon = prepare(policy(FILTERS, TAG))
    daemon.file = Path(shutil.copy(daemon.file, public / "policy.yaml"))
    daemon.socket = public / "control.sock"
    shutil.copy(CALLOUTD, public / "calloutd")
    daemon.file.chmod(0o644)
    done = net.host.run(
        *UNPRIVILEGED, str(public / "calloutd"), "run",
        "--config", str(daemon.file), "--socket", str(daemon.socket), check=False,
    )  # fmt: skip
    assert done.returncode == 77, done.stderr
    assert "CAP_NET_ADMIN" in done.stderr
    assert not daemon.socket.exists()


def test_without_privilege_rules_cannot_be_changed(net, public) -> None:
    file = public / "policy.yaml"
    file.write_text(policy(FILTERS, TAG))
    shutil.copy(CALLOUTD, public / "calloutd")
    for command in ("apply", "remove"):
        done = net.host.run(
            *UNPRIVILEGED, str(public / "calloutd"), "rules", command, "--config", str(file),
            check=False,
        )  # fmt: skip
        assert done.returncode == 77, (command, done.stderr)
        assert "CAP_NET_ADMIN" in done.stderr


def mark_rule(net: Topology) -> None:
    """Another program's rule that sets mark bits."""
    rule = "-t mangle -A PREROUTING -i nowhere -j MARK --set-xmark 0x400000/0x00c00000"
    net.host.run("iptables", *rule.split())


def test_a_mask_that_another_rule_uses_is_refused_and_the_rule_named(net, prepare) -> None:
    mark_rule(net)
    daemon = prepare(policy(FILTERS, TAG, "mark: { mask: 0x00ffff00 }"))
    log = refused_start(daemon, net)
    assert "mark mask 0xffff00 is used by other rules" in log
    assert "0xc00000 by iptables: ip mangle PREROUTING handle" in log


def test_mark_conflicts_can_be_ignored_with_a_warning(net, start) -> None:
    mark_rule(net)
    daemon = start(policy(FILTERS, TAG, "mark: { mask: 0x00ffff00, ignore-conflicts: true }"))
    status = daemon.status()
    assert status["mark-mask"] == "0xffff00"
    assert any("PREROUTING" in warning for warning in status["warnings"])
    assert "PREROUTING" in daemon.log


def test_mask_auto_avoids_the_bits_of_other_rules(net, start) -> None:
    mark_rule(net)
    net.host.nft("table ip them { chain c {\n meta mark & 0x00000003 == 1 accept\n }\n }")
    daemon = start(policy(FILTERS, TAG))
    mask = int(daemon.status()["mark-mask"], 16)
    assert mask & 0x00C00003 == 0
    assert mask == 0x003FFFFC, "the widest free run"


def test_whole_mark_rules_leave_no_free_mark(net, prepare) -> None:
    net.host.run("ip", "rule", "add", "fwmark", "0xca6c", "lookup", "main")
    try:
        log = refused_start(prepare(policy(FILTERS, TAG)), net)
    finally:
        net.host.run("ip", "rule", "del", "fwmark", "0xca6c")
    assert "no run of 8 free mark bits is left" in log
    assert "0xca6c" in log


def test_a_socket_in_a_missing_directory(net, prepare) -> None:
    """One missing directory is made, more than that is an error with the path."""
    daemon = prepare(policy(FILTERS, TAG))
    daemon.socket = daemon.directory / "one" / "control.sock"
    daemon.start()
    assert daemon.stop() == 0
    daemon.socket = daemon.directory / "two" / "three" / "control.sock"
    log = refused_start(daemon, net)
    assert str(daemon.socket) in log


def test_a_socket_path_that_is_taken_by_a_file_is_left_alone(net, prepare) -> None:
    daemon = prepare(policy(FILTERS, TAG))
    daemon.socket.write_text("precious")
    log = refused_start(daemon, net)
    assert str(daemon.socket) in log
    assert daemon.socket.read_text() == "precious"


def test_a_dead_daemons_socket_file_is_replaced(start) -> None:
    daemon = start(policy(FILTERS, TAG))
    daemon.kill()
    assert daemon.socket.exists()
    daemon.start()
    wait_for(lambda: daemon.status()["healthy"], "a healthy daemon")


def test_a_metrics_address_that_is_taken_ends_the_daemon_in_order(net, prepare, closing) -> None:
    with net.host.entered():
        taken = closing(socket.create_server(("127.0.0.1", 9469)))
    assert taken
    daemon = prepare(policy(FILTERS, TAG, "metrics: { listen: 127.0.0.1:9469 }"))
    log = refused_start(daemon, net)
    assert "metrics on 127.0.0.1:9469" in log
    assert "another address in metrics.listen" in log
    assert not daemon.socket.exists()
