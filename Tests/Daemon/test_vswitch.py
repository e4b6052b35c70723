# SPDX-License-Identifier: Apache-2.0
"""The virtual-switch layers: frames that cross a bridge of the daemon's host."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon import CALLOUTD, EXAMPLES, ROOT, TAG, Daemon, every, policy
from netns import Namespace, wait_for

LAYERS = ("ingress-vswitch-ethernet", "egress-vswitch-ethernet")
NUMBERED = "".join(every(layer, "callout-inspection", "numbered") for layer in LAYERS)


class Switch:
    """A host with a bridge (10.6.0.1) and two stations on it (10.6.0.2 and 10.6.0.3)."""

    def __init__(self) -> None:
        self.host = Namespace("switch")
        self.stations = [Namespace("station") for _ in range(2)]
        self.host.run("ip", "link", "add", "br0", "type", "bridge")
        self.host.run("ip", "link", "set", "br0", "up")
        self.host.run("ip", "addr", "add", "10.6.0.1/24", "dev", "br0")
        for number, station in enumerate(self.stations, 1):
            port = f"port{number}"
            self.host.run(
                *("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0"),
                *("address", f"02:00:00:00:66:{number:02}", "netns", station.name),
            )
            self.host.run("ip", "link", "set", port, "master", "br0", "up")
            station.run("ip", "addr", "add", f"10.6.0.{number + 1}/24", "dev", "eth0")
            station.run("ip", "link", "set", "eth0", "up")

    def ping(self, station: int, address: str) -> bool:
        """Whether there is an answer."""
        done = self.stations[station].run("ping", "-q", "-c2", "-W2", address, check=False)
        return done.returncode == 0

    def tables(self) -> list[str]:
        """All tables of nft."""
        return self.host.out("nft", "list", "tables").splitlines()

    def close(self) -> None:
        """Removes all of it."""
        for space in [*self.stations, self.host]:
            space.close()


@pytest.fixture
def switch() -> Iterator[Switch]:
    """A bridge with stations."""
    switch = Switch()
    yield switch
    switch.close()


@pytest.fixture
def run(switch: Switch, tmp_path: Path, closing: Callable) -> Callable[..., Daemon]:
    """Starts a daemon on the bridge's host."""

    def make(text: str) -> Daemon:
        return closing(Daemon(switch.host, text, tmp_path)).start()

    return make


def test_a_kernel_that_cannot_queue_frames_is_told_of(switch, tmp_path) -> None:
    rule = "table bridge t { chain c { queue to 1; }; }"
    if subprocess.run(["nft", "-c", "-f", "-"], input=rule.encode(), check=False).returncode == 0:
        pytest.skip("this kernel queues frames of bridges")
    file = tmp_path / "policy.yaml"
    file.write_text(policy(NUMBERED, TAG))
    switch.host.run(CALLOUTD, "check", "--config", str(file))
    for words in (("run", "--socket", str(tmp_path / "socket")), ("rules", "apply")):
        done = switch.host.run(CALLOUTD, *words, "--config", str(file), check=False)
        assert done.returncode == 1, done
        text = done.stdout + done.stderr
        assert "nft_queue" in text and "MAC layers" in text, text
    assert switch.tables() == []


@pytest.mark.usefixtures("needs_nft_queue")
def test_a_station_is_blocked_tags_end_and_nothing_is_left(switch, run) -> None:
    block = (
        "- name: station 1\n  layer: ingress-vswitch-ethernet\n  conditions:\n"
        "    - { field: mac-source-address, match: equal, value: 02:00:00:00:66:01 }\n"
        "  action: block\n"
    )
    daemon = run(policy(NUMBERED, TAG, "lifecycle: { sweep-after: 500ms }"))
    assert switch.tables() == ["table inet callout", "table bridge callout"]
    assert switch.ping(0, "10.6.0.3") and switch.ping(1, "10.6.0.1")
    hits = {each["layer"]: each["hits"] for each in daemon.ask("filters")}
    assert all(hits[layer] >= 4 for layer in LAYERS), hits
    [queue] = daemon.ask("queues")
    assert queue["bridged-frames"] == queue["packets"] > 8
    assert queue["packets"] == queue["rule-packets"]
    wait_for(lambda: daemon.status()["live"] == 0, "no context stays")
    daemon.write(policy(block + NUMBERED, TAG))
    assert daemon.ctl("reload").returncode == 0
    assert not switch.ping(0, "10.6.0.3") and not switch.ping(0, "10.6.0.1")
    assert switch.ping(1, "10.6.0.1")
    assert daemon.stop() == 0
    assert switch.tables() == []
    assert switch.ping(0, "10.6.0.3")


@pytest.mark.usefixtures("needs_nft_queue")
def test_rules_are_printed_applied_and_removed(switch, tmp_path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text((EXAMPLES / "vswitch.yaml").read_text())
    words = ("--config", str(file))
    switch.host.run("nft", "-f", "-", stdin=switch.host.out(CALLOUTD, "rules", "print", *words))
    assert "+" not in switch.host.out(CALLOUTD, "rules", "diff", *words)
    switch.host.run(CALLOUTD, "rules", "apply", *words)
    listed = switch.host.out("nft", "list", "table", "bridge", "callout")
    assert listed.count("queue flags bypass to 31000") == 3
    assert switch.ping(0, "10.6.0.3"), "with bypass nothing is lost while no daemon runs"
    switch.host.run(CALLOUTD, "rules", "remove", "--table", "callout")
    assert switch.tables() == []


@pytest.mark.usefixtures("needs_nft_queue")
def test_the_file_brings_frames_of_both_layers(switch, run) -> None:
    switch.host.run("nft", "-f", str(ROOT / "rules/bridge.nft"))
    assert switch.ping(0, "10.6.0.3")
    daemon = run(policy(NUMBERED, TAG, "rules: { manage: false }"))
    assert switch.ping(0, "10.6.0.3") and switch.ping(1, "10.6.0.1")
    hits = {each["layer"]: each["hits"] for each in daemon.ask("filters")}
    assert all(hits[layer] >= 4 for layer in LAYERS), hits
    daemon.kill()
    assert switch.ping(0, "10.6.0.3")
    switch.host.run("nft", "flush", "ruleset")
