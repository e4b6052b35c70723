# SPDX-License-Identifier: Apache-2.0
"""calloutd and calloutctl, as the demo runs them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from scene import Life
from traffic import PATIENCE, DemoError

HERE = Path(__file__).resolve().parent
BINARIES = Path(os.environ.get("CALLOUT_BIN", HERE.parents[2] / ".build/release"))
LOG = Path("/run/calloutd.log")


def ask(*words: str) -> str:
    """What calloutctl answers."""
    line = [str(BINARIES / "calloutctl"), *words]
    return subprocess.run(line, check=True, capture_output=True, text=True, timeout=10).stdout


def features() -> dict[str, dict[str, str]]:
    """What the kernel can do, by name, as `calloutd probe` says."""
    words = [str(BINARIES / "calloutd"), "probe", "--json"]
    text = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
    records = map(json.loads, text.splitlines())
    return {each["name"]: each for each in records if "interface" not in each}


@contextlib.contextmanager
def daemon(log: Path, policy: str = "policy.yaml") -> Iterator[subprocess.Popen[bytes]]:
    """calloutd with a policy of the demo, running."""
    words = [str(BINARIES / "calloutd"), "run", "--config", str(HERE / policy)]
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


class Trace:
    """What `calloutctl trace` prints, life by life."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._changed = threading.Condition()
        self._lives: list[Life] = []
        words = [str(BINARIES / "calloutctl"), "trace"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        stack.callback(self._process.kill)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            if line.strip():
                lines.append(line.rstrip())
                continue
            with self._changed:
                self._lives.append(Life(lines))
                self._changed.notify_all()
            lines = []

    def stop(self) -> None:
        """Ends the program."""
        self._process.terminate()

    def lives(self, tag: str) -> list[Life]:
        """The lives under a tag that have ended."""
        with self._changed:
            return [life for life in self._lives if life.tag == tag]

    def wait(self, tag: str, seconds: float, least: int = 1) -> bool:
        """Whether so many lives under the tag have ended in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: sum(life.tag == tag for life in self._lives) >= least, seconds
            )
