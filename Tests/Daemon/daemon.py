# SPDX-License-Identifier: Apache-2.0
"""The real `calloutd` and `calloutctl`, run in a namespace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netns import Namespace, wait_for

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(os.environ.get("CALLOUT_BIN", ROOT / ".build" / "release"))
CALLOUTD = str(BINARIES / "calloutd")
CALLOUTCTL = str(BINARIES / "calloutctl")
EXAMPLES = ROOT / "Sources" / "Examples" / "Policies"

Record = dict[str, Any]


def policy(filters: str, callouts: str = "", head: str = "") -> str:
    """A policy's text from its parts: lines of YAML without indentation."""
    parts = [head]
    if callouts:
        parts.append("callouts:\n" + indent(callouts))
    if filters:
        parts.append("filters:\n" + indent(filters))
    return "\n".join(parts)


def indent(text: str) -> str:
    """The lines of `text`, two columns to the right."""
    return "\n".join("  " + line for line in text.strip().splitlines())


def every(layer: str, action: str, callout: str = "", name: str = "") -> str:
    """A filter of all packets of a layer."""
    name = name or f"all of {layer}"
    suffix = f", callout: {callout}" if callout else ""
    return f"- {{ name: {name}, layer: {layer}, action: {action}{suffix} }}\n"


def udp_to(port: int, layer: str, action: str, callout: str = "") -> str:
    """A filter of the UDP packets to a destination port."""
    suffix = f"\n  callout: {callout}" if callout else ""
    return (
        f"- name: UDP to {port} at {layer}\n"
        f"  layer: {layer}\n"
        "  conditions:\n"
        "    - { field: ip-protocol, match: equal, value: udp }\n"
        f"    - {{ field: ip-destination-port, match: equal, value: {port} }}\n"
        f"  action: {action}{suffix}\n"
    )


TAG = "- { name: numbered, type: tag, context: sequence }"


def thread_state(task: Path) -> str:
    """The letter that /proc shows for a thread: R, S, D, T …"""
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


class Daemon:
    """A `calloutd run` with its policy file, its control socket and its log."""

    def __init__(self, space: Namespace, text: str, directory: Path) -> None:
        self.space = space
        self.directory = directory
        self.file = directory / "policy.yaml"
        self.socket = directory / "control.sock"
        self.log_file = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.write(text)

    def write(self, text: str) -> None:
        """Replaces the policy file."""
        self.file.write_text(text)

    def spawn(self, *prefix: str) -> None:
        """Starts the process without waiting for anything."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.space.prefix, *prefix, CALLOUTD, "run"]
                + ["--config", str(self.file), "--socket", str(self.socket)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> Daemon:
        """Starts it and waits until its policy is in force."""
        self.spawn()
        wait_for(self._is_running, "calloutd runs")
        return self

    def _is_running(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"calloutd ended early:\n{self.log}")
        try:
            return self.status()["state"] == "running"
        except (OSError, IndexError, KeyError):
            return False

    @property
    def pid(self) -> int:
        """The process' id."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """All that was written to standard error."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Stops the process; returns when its last thread runs no more."""
        self.signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.pid}/task")
        wait_for(
            lambda: all(thread_state(thread) == "T" for thread in threads.iterdir()),
            "every thread has stopped",
        )

    def kill(self) -> None:
        """Ends it as a crash would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        self.wait()

    def wait(self, within: float = 20) -> int:
        """Waits for its end; gives the exit code."""
        assert self.process is not None
        return self.process.wait(within)

    def stop(self) -> int:
        """Ends it in order."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """Ends it if it runs."""
        if self.process is not None:
            self.kill()

    def ask(self, command: str, **more: object) -> list[Record]:
        """The answer to a request on the control socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket))
            connection.sendall(json.dumps({"command": command, **more}).encode() + b"\n")
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return [json.loads(line) for line in answer.splitlines()]

    def status(self) -> Record:
        """The answer to `status`."""
        return self.ask("status")[0]

    def queue(self, number: int = 0) -> Record:
        """What one queue has counted."""
        return self.ask("queues")[number]

    def callout(self, name: str) -> Record:
        """What one callout has counted."""
        return next(each for each in self.ask("callouts") if each["name"] == name)

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `calloutctl`."""
        return self.space.run(CALLOUTCTL, *arguments, "--socket", str(self.socket), check=False)

    def resident_kilobytes(self) -> int:
        """Its resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1])

    def wait_quiet(self, number: int = 0) -> Record:
        """Waits until nothing waits in the kernel; gives the queue's counts."""

        def quiet() -> Record | None:
            queue = self.queue(number)
            return queue if queue["waiting"] == 0 else None

        return wait_for(quiet, "the queue is empty", 20)


def watching(daemon: Daemon, act: Callable[[], object], count: int) -> list[Record]:
    """The events of `count` whole lives of contexts, while `act` sends again and again.

    Nobody tells when the daemon has begun to send events, so the first packets may come too early.
    """
    lives: dict[tuple[int, str], list[Record]] = {}
    rest = b""
    deadline = time.monotonic() + 15
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(daemon.socket))
        connection.sendall(b'{"command": "events"}\n')
        connection.settimeout(0.5)
        while time.monotonic() < deadline:
            act()
            with contextlib.suppress(TimeoutError):
                while chunk := connection.recv(65536):
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in map(json.loads, lines):
                        lives.setdefault((line["handle"], line["context"]), []).append(line)
            whole = [life for life in lives.values() if _is_whole(life)]
            if len(whole) >= count:
                return [line for life in whole[:count] for line in life]
    raise AssertionError(f"only {lives} within 15 s")


def _is_whole(life: list[Record]) -> bool:
    kinds = [line["event"] for line in life]
    return "exit_netio" in kinds and kinds[-1] == "context_removed"


def rules_of(space: Namespace, table: str = "callout") -> Record:
    """Our nft table as JSON: chains by name and the rules' number."""
    done = space.run("nft", "-j", "-a", "list", "table", "inet", table, check=False)
    if done.returncode != 0:
        return {"chains": {}, "rules": 0}
    things = json.loads(done.stdout)["nftables"]
    chains = [thing["chain"] for thing in things if "chain" in thing]
    return {
        "chains": {chain["name"]: chain["handle"] for chain in chains},
        "rules": sum("rule" in thing for thing in things),
    }
