# SPDX-License-Identifier: Apache-2.0
"""calloutd and calloutctl, as the demo runs them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from scene import Event
from traffic import PATIENCE, DemoError

HERE = Path(__file__).resolve().parent
BINARIES = HERE.parents[2] / ".build/release"
LOG = Path("/run/calloutd.log")


def ask(*words: str) -> str:
    """What calloutctl answers."""
    line = [str(BINARIES / "calloutctl"), *words]
    return subprocess.run(line, check=True, capture_output=True, text=True, timeout=10).stdout


@contextlib.contextmanager
def daemon(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """calloutd with the demo's policy, running."""
    words = [str(BINARIES / "calloutd"), "run", "--config", str(HERE / "policy.yaml")]
    with log.open("wb") as output:
        process = subprocess.Popen(words, stderr=output)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if json.loads(ask("status", "--json"))["state"] == "running":
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError("calloutd did not start")
            time.sleep(0.02)
        yield process
    finally:
        process.kill()


class Events:
    """What `calloutctl events --json` says, collected by tag and context."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._lock = threading.Condition(threading.RLock())
        self._events: list[Event] = []
        words = [str(BINARIES / "calloutctl"), "events", "--json"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        stack.callback(self._process.kill)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._lock:
                self._events.append(json.loads(line))
                self._lock.notify_all()

    def lives(self, tag: str) -> dict[str, list[Event]]:
        lives: dict[str, list[Event]] = {}
        with self._lock:
            for event in self._events:
                if event.get("tag-name") == tag:
                    lives.setdefault(event["context"], []).append(event)
        return lives

    def wait(self, tag: str, seconds: float, least: int = 1) -> bool:
        """Whether all contexts of the tag that were met have ended in time."""

        def ended() -> bool:
            lives = self.lives(tag)
            last = [life[-1]["event"] for life in lives.values()]
            return len(last) >= least and all(event == "context_removed" for event in last)

        with self._lock:
            return self._lock.wait_for(ended, seconds)
