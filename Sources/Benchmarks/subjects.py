# SPDX-License-Identifier: Apache-2.0
"""The programs that are compared: how each is started, and when it is ready."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from build import OUTPUT, RELEASE, SOURCES, VENV

SOCKET = "/run/callout-bench.sock"  # in a mount namespace of our own
COMMON_OPTIONS = ("queue", "copy_range", "max_length", "mark_mask", "mark_shift")


@dataclass(frozen=True)
class Settings:
    """What all sides of a case have in common."""

    copy_range: int = 128
    max_length: int = 8192
    mark_mask: int = 0x3FFFFF00  # 20 handle bits, injected, epoch
    mark_shift: int = 8
    queue: int = 31000

    def on(self, queue: int) -> Settings:
        return replace(self, queue=queue)


class Subject:
    """A program that answers one queue and gives every packet a mark of its own."""

    name = ""
    # Packets to handle before anything counts.
    warm_packets = 200_000
    # What it makes of a larger copy range.
    largest_copy_range = 65531

    def missing(self) -> str | None:
        """Why this subject cannot run here, if so."""
        return None

    def words(self, settings: Settings) -> list[str]:
        """The command line."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Asked after the subject's queue is bound and configured."""
        return True


def options(settings: Settings) -> list[str]:
    return [
        word
        for name in COMMON_OPTIONS
        for word in (f"--{name.replace('_', '-')}", str(getattr(settings, name)))
    ]


class CProgram(Subject):
    """c-plain and c-packed, or one of these under another name with more options."""

    def __init__(self, name: str, program: str | None = None, *more: str) -> None:
        self.name = name
        self._program = program or name
        self._more = more

    def words(self, settings: Settings) -> list[str]:
        return [str(OUTPUT / self._program), *options(settings), *self._more]


class PythonNetfilterQueue(Subject):
    """PyPI's NetfilterQueue."""

    name = "python-netfilterqueue"
    largest_copy_range = 4016

    def __init__(self, reason: str | None) -> None:
        self._reason = reason

    def missing(self) -> str | None:
        return self._reason

    def words(self, settings: Settings) -> list[str]:
        program = str(SOURCES / "python-netfilterqueue.py")
        return [str(VENV / "bin/python"), program, *options(settings)]


POLICY = """\
mark:      {{ mask: {mark_mask:#x}, ignore-conflicts: true }}
queues:    {{ first: {queue}, count: 1, copy-range: {copy_range}, max-length: {max_length} }}
rules:     {{ manage: false }}
lifecycle: {{ source: {lifecycle} }}
sublayers:
  - {{ name: default, weight: 0x8000 }}
callouts:
  - {{ name: bench-tags, type: tag, context: sequence }}
filters:
  - name: everything that leaves
    layer: outbound-transport-v4
    sublayer: default
    weight: 10
    action: callout-unknown
    callout: bench-tags
"""
# Where verdicts alone tell, a later layer of ours keeps the handles on the packets' marks, so that
# each packet's mark is written, as every other side does. No rule sends packets there.
LATER = """\
  - name: everything later
    layer: outbound-ippacket-v4
    action: permit
"""


class Calloutd(Subject):
    """The daemon, with one tagging callout on all that leaves."""

    def __init__(self, name: str = "calloutd", lifecycle: str = "verdicts") -> None:
        self.name = name
        self._lifecycle = lifecycle

    # Thrice around the table of 2^20 handles, at full speed for longer than the sweeper waits, so
    # that all its pages are there and handles are reused.
    warm_packets = 3_300_000

    def missing(self) -> str | None:
        absent = [name for name in ("calloutd", "calloutctl") if not (RELEASE / name).exists()]
        return f"not built: {', '.join(absent)} (make release)" if absent else None

    def words(self, settings: Settings) -> list[str]:
        policy = OUTPUT / f"{self.name}.yaml"
        text = POLICY.format(**vars(settings), lifecycle=self._lifecycle)
        policy.write_text(text + (LATER if self._lifecycle == "verdicts" else ""))
        return [str(RELEASE / "calloutd"), "run", "--config", str(policy), "--socket", SOCKET]

    def is_ready(self) -> bool:
        words = [str(RELEASE / "calloutctl"), "status", "--json", "--socket", SOCKET]
        return subprocess.run(words, check=False, capture_output=True, timeout=10).returncode == 0


def log_of(subject: Subject) -> Path:
    return OUTPUT / f"{subject.name}.log"
