# SPDX-License-Identifier: Apache-2.0
"""Runs the tests in namespaces of their own, and gives them topologies and daemons."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from daemon import CALLOUTCTL, CALLOUTD, Daemon
from netns import Namespace, Topology
from nfqueue import HeldQueue
from traffic import Flood, Sender, Sink
from wire import Wire

Starter = Callable[..., Daemon]
SCRIPT = Path(__file__).resolve().parents[1] / "run-in-namespace.sh"


class Closable(Protocol):
    """Something to be closed."""

    def close(self) -> None:
        """Closes it."""


Kept = TypeVar("Kept", bound=Closable)


def pytest_configure(config: pytest.Config) -> None:
    """Starts over inside Tests/run-in-namespace.sh, unless that has happened or cannot."""
    if os.geteuid() != 0 or os.environ.get("CALLOUT_NETNS") == "1":
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    os.chdir(config.invocation_params.dir)
    arguments = [str(each) for each in config.invocation_params.args]
    os.execv(SCRIPT, [str(SCRIPT), sys.executable, "-m", "pytest", *arguments])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root nothing here can run."""
    if os.geteuid() == 0:
        return
    for item in items:
        item.add_marker(pytest.mark.skip(reason="needs root: makes network namespaces"))


@pytest.fixture(scope="session", autouse=True)
def _binaries() -> None:
    for program in (CALLOUTD, CALLOUTCTL):
        if not os.access(program, os.X_OK):
            pytest.exit(f"{program} is missing: swift build -c release, or set CALLOUT_BIN", 1)


@pytest.fixture(scope="session")
def needs_nft_queue() -> None:
    """Skips where the kernel has no nft `queue` statement."""
    rule = "table inet t { chain c { queue to 1; }; }"
    check = subprocess.run(
        ["nft", "-c", "-f", "-"], input=rule.encode(), capture_output=True, check=False
    )
    if check.returncode != 0:
        pytest.skip("this kernel has no nft queue: run make guest-test")


@pytest.fixture(scope="module")
def shared_net() -> Iterator[Topology]:
    """client -- host -- server, for all tests of a file."""
    topology = Topology()
    yield topology
    topology.close()


@pytest.fixture
def net(shared_net: Topology) -> Iterator[Topology]:
    """client -- host -- server, with no rules at the end."""
    yield shared_net
    shared_net.host.run("nft", "flush", "ruleset", check=False)


@pytest.fixture
def closing() -> Iterator[Callable[[Kept], Kept]]:
    """Closes what a test makes, the last first."""
    things: list[Closable] = []

    def keep(thing: Kept) -> Kept:
        things.append(thing)
        return thing

    yield keep
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def prepare(net: Topology, tmp_path: Path, closing: Callable) -> Starter:
    """Makes a daemon that does not run yet."""
    made = 0

    def make(text: str, space: Namespace | None = None) -> Daemon:
        nonlocal made
        made += 1
        directory = tmp_path / str(made)
        directory.mkdir()
        return closing(Daemon(space or net.host, text, directory))

    return make


@pytest.fixture
def start(prepare: Starter) -> Starter:
    """Starts a daemon in the host, or in the namespace given, with a policy's text."""

    def make(text: str, space: Namespace | None = None) -> Daemon:
        return prepare(text, space).start()

    return make


@pytest.fixture
def sink(net: Topology, closing: Callable) -> Callable[..., Sink]:
    """Opens a receiver, on the server unless told otherwise."""
    return lambda port, space=None: closing(Sink(space or net.server, port))


@pytest.fixture
def sender(net: Topology, closing: Callable) -> Callable[..., Sender]:
    """Opens a sender from the host to the server, unless told otherwise."""

    def make(
        port: int, space: Namespace | None = None, to: str = "", mark: int = 0, source: int = 0
    ) -> Sender:
        address = to or net.server_address
        return closing(Sender(space or net.host, address, port, mark, source))

    return make


@pytest.fixture
def flood(net: Topology) -> Iterator[Callable[..., Flood]]:
    """Starts a flood from the host to the server."""
    floods: list[Flood] = []

    def make(port: int, rate: int = 0, seconds: float = 0, count: int = 0) -> Flood:
        floods.append(Flood(net.host, net.server_address, port, rate, seconds, count))
        return floods[-1]

    yield make
    for each in floods:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def hold(net: Topology, closing: Callable) -> Callable[[int], HeldQueue]:
    """Binds a queue of the host as another program would."""
    return lambda number: closing(HeldQueue(net.host, number))


@pytest.fixture
def background() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Runs a program beside the test and ends it with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(space: Namespace, *command: str, **options: object) -> subprocess.Popen[bytes]:
        running.append(subprocess.Popen([*space.prefix, *command], **options))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Two hosts on one link."""
    wire = Wire()
    yield wire
    wire.close()


@pytest.fixture
def run(wire: Wire, tmp_path: Path, closing: Callable) -> Callable[..., Daemon]:
    """Starts a daemon on the wire's host."""

    def make(text: str) -> Daemon:
        tmp_path.joinpath("daemon").mkdir()
        return closing(Daemon(wire.host, text, tmp_path / "daemon")).start()

    return make
