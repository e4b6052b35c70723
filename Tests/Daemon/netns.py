# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, a small topology of veth pairs, and waiting for conditions."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)
# How much slower this machine is than those that the tests' deadlines were made for.
SLOWNESS = int(os.environ.get("CALLOUT_SLOWNESS", "1"))


def wait_for(condition: Callable[[], T], what: str, within: float = 10.0) -> T:
    """Asks `condition` until it answers with something true; fails after `within` seconds."""
    within *= SLOWNESS
    deadline = time.monotonic() + within
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within} s; last answer {answer!r}")
        time.sleep(0.01)


class Namespace:
    """A named network namespace."""

    def __init__(self, name: str) -> None:
        self.name = f"{name}-{os.getpid()}-{next(_numbers)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def prefix(self) -> list[str]:
        """What a command must begin with to run in here."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--"]

    def run(
        self,
        *command: str,
        check: bool = True,
        stdin: str | None = None,
        timeout: float = 60,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        done = subprocess.run(
            [*self.prefix, *command],
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=None if env is None else {**os.environ, **env},
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}: {done.stderr}")
        return done

    def out(self, *command: str) -> str:
        """A command's standard output."""
        return self.run(*command).stdout

    def sysctl(self, name: str, value: str) -> None:
        """Sets a variable of this namespace."""
        self.run("sysctl", "-q", "-w", f"{name}={value}")

    def nft(self, rules: str) -> None:
        """Loads nft rules."""
        self.run("nft", "-f", "-", stdin=rules)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread works in here; sockets made now stay in here."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            self._enter(there.fileno())
            try:
                yield
            finally:
                self._enter(home.fileno())

    @staticmethod
    def _enter(descriptor: int) -> None:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def close(self) -> None:
        """Removes the namespace with all that is in it."""
        for pid in subprocess.run(
            ["ip", "netns", "pids", self.name], check=False, capture_output=True, text=True
        ).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def connect(
    left: Namespace, left_device: str, right: Namespace, right_device: str, subnet: int
) -> None:
    """A veth pair with the addresses 10.0.SUBNET.1 and .2, fd00:SUBNET::1 and ::2."""
    pair = f"v{next(_numbers)}"
    peer = ["peer", "name", right_device, "netns", right.name]
    subprocess.run(
        ["ip", "link", "add", pair, "netns", left.name, "type", "veth", *peer], check=True
    )
    left.run("ip", "link", "set", pair, "name", left_device)
    for space, device, host in ((left, left_device, 1), (right, right_device, 2)):
        space.sysctl(f"net.ipv6.conf.{device}.accept_dad", "0")
        space.run("ip", "addr", "add", f"10.0.{subnet}.{host}/24", "dev", device)
        space.run("ip", "addr", "add", f"fd00:{subnet}::{host}/64", "dev", device, "nodad")
        space.run("ip", "link", "set", device, "up")


class Topology:
    """client -- host -- server; the daemon runs in host, which routes between the two.

    client 10.0.1.2, host 10.0.1.1 and 10.0.2.1, server 10.0.2.2; fd00:1:: and fd00:2:: likewise.
    """

    client_address = "10.0.1.2"
    host_address = "10.0.2.1"
    router_address = "10.0.1.1"
    server_address = "10.0.2.2"

    def __init__(self) -> None:
        self.client = Namespace("client")
        self.host = Namespace("host")
        self.server = Namespace("server")
        connect(self.host, "inside", self.client, "eth0", 1)
        connect(self.host, "outside", self.server, "eth0", 2)
        self.host.sysctl("net.ipv4.ip_forward", "1")
        self.host.sysctl("net.ipv6.conf.all.forwarding", "1")
        for space, subnet in ((self.client, 1), (self.server, 2)):
            space.run("ip", "route", "add", "default", "via", f"10.0.{subnet}.1")
            space.run("ip", "-6", "route", "add", "default", "via", f"fd00:{subnet}::1")
        for source in (self.host, self.client):
            self.reach(source)

    def reach(self, source: Namespace) -> None:
        """Fills the neighbour tables, so that no test's first packet waits for an answer."""
        for address in (self.server_address, "fd00:2::2"):
            wait_for(
                lambda to=address: (
                    source.run("ping", "-c1", "-W1", "-q", to, check=False).returncode == 0
                ),
                f"{address} answers",
            )

    def close(self) -> None:
        """Removes the namespaces."""
        for space in (self.client, self.host, self.server):
            space.close()
