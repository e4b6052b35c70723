# SPDX-License-Identifier: Apache-2.0
"""The private network namespace that the traffic lives in, and children that cannot outlive us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
PR_SET_PDEATHSIG = 1
AUTOGROUP = Path("/proc/self/autogroup")

DEVICE = "cobench0"
SOURCE = "10.99.0.1"
TARGET = "10.99.0.2"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, operation: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{operation}: {os.strerror(number)}")


def command(*words: str, text: str | None = None) -> str:
    """Runs a short command; raises with its error output when it fails."""
    done = subprocess.run(
        words, check=False, input=text, capture_output=True, text=True, timeout=20
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def enter() -> None:
    """Moves this process into a new network and mount namespace, both gone when it is."""
    _check(_libc.unshare(CLONE_NEWNET | CLONE_NEWNS), "unshare (root is needed)")
    _check(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
    # A /run of our own: the xtables lock, the daemon's epoch file and its socket.
    _check(_libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None), "mount /run")


def make_device() -> str:
    """Makes a device that swallows what is sent to it. Returns its kind.

    `dummy` where the kernel has it, else `ifb`, which drops every frame not redirected to it.
    """
    command("ip", "link", "set", "lo", "up")
    kind = "dummy"
    try:
        command("ip", "link", "add", DEVICE, "type", kind)
    except RuntimeError:
        kind = "ifb"
        command("ip", "link", "add", DEVICE, "type", kind)
        command("tc", "qdisc", "replace", "dev", DEVICE, "root", "noqueue")
    Path(f"/proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6").write_text("1")
    command("ip", "addr", "add", f"{SOURCE}/24", "dev", DEVICE)
    command("ip", "link", "set", DEVICE, "up")
    neighbour = f"{TARGET} lladdr 02:00:00:00:00:02 dev {DEVICE} nud permanent"
    command("ip", "neigh", "replace", *neighbour.split())
    return kind


def _replace(chain: str, rules: Sequence[str]) -> None:
    """Replaces a chain of the mangle table in one step. The chain stays hooked."""
    lines = [f":{chain} ACCEPT [0:0]", f"-F {chain}", *(f"-A {chain} {rule}" for rule in rules)]
    text = "\n".join(["*mangle", *lines, "COMMIT", ""])
    command("iptables-restore", "--noflush", text=text)


def queue_output(queue: int | None, device: str = DEVICE) -> None:
    """Has mangle OUTPUT send what leaves by a device to `queue` and to no other, or to none.

    Unhooking the chain would flush every queue of the namespace; so it is never deleted.
    """
    rule = f"-o {device} -j NFQUEUE --queue-num {queue} --queue-bypass"
    _replace("OUTPUT", [] if queue is None else [rule])


def count_marks(mask: int, low_bit: int, device: str = DEVICE) -> None:
    """Puts counters of all, of tagged and of odd-tagged packets into mangle POSTROUTING."""
    matches = ["", f"-m mark ! --mark 0/{mask:#x}", f"-m mark --mark {low_bit:#x}/{low_bit:#x}"]
    _replace("POSTROUTING", [f"-o {device} {match}" for match in matches])


def read_marks() -> tuple[int, int, int]:
    """The three counters of `count_marks`."""
    lines = command("iptables", "-t", "mangle", "-nvxL", "POSTROUTING").splitlines()[2:]
    counts = [int(line.split()[0]) for line in lines]
    return counts[0], counts[1], counts[2]


def forget_marks() -> None:
    """Empties mangle POSTROUTING."""
    _replace("POSTROUTING", [])


def _prepare_child(cpu: int, priority: int, realtime: bool) -> Callable[[], None]:
    """What a child does before exec: die with us, run on one CPU, before other people's jobs."""

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, {cpu})
        os.setsid()
        # Where sessions share the CPU evenly, a nice value counts among the session's own only.
        if AUTOGROUP.exists():
            AUTOGROUP.write_text(str(priority))
        os.setpriority(os.PRIO_PROCESS, 0, priority)
        if realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    return prepare


class Children:
    """Every process that the harness starts; leaving the `with` block ends them all."""

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._running:
            child.kill()
        for child in self._running:
            child.wait(timeout=10)

    def start(
        self,
        words: Sequence[str],
        cpu: int,
        log: Path,
        environment: dict[str, str] | None = None,
        realtime: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Starts a program whose output goes to a file (a pipe that nobody reads would fill)."""
        with log.open("wb") as output:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                preexec_fn=_prepare_child(cpu, self.priority, realtime),  # noqa: PLW1509 (there are no threads)
            )
        self._running.append(child)
        return child

    def stop(self, child: subprocess.Popen[bytes], timeout: float = 10) -> None:
        """SIGTERM, then SIGKILL after the timeout."""
        child.terminate()
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(timeout)
        self._running.remove(child)


def wait_until(condition: Callable[[], bool], timeout: float, interval: float = 0.01) -> bool:
    """Polls until the condition holds. False when the time is over first."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
