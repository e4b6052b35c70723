# SPDX-License-Identifier: Apache-2.0
"""What the packet path calls, counted under callgrind: the machine's moods are not in these numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import namespace
from build import OUTPUT
from report import Entry
from subjects import Calloutd, Settings
from workbench import Workbench

STEM = OUTPUT / "callgrind"
PACKETS = 50_000
FLOOD_SECONDS = 60
# What a function of the Swift runtime or of libc is counted as.
KINDS = {
    "swift_retain": "queue/retains",
    "swift_bridgeObjectRetain": "queue/retains",
    "pthread_mutex_lock": "queue/locks",
    "malloc": "queue/heap-calls",
    "posix_memalign": "queue/heap-calls",
}
NAME = re.compile(r"\((\d+)\)(?: (.*))?")


class CountedCalloutd(Calloutd):
    """The daemon in valgrind, which cannot read what debuggers are told of it."""

    def missing(self) -> str | None:
        if shutil.which("valgrind") is None:
            return "no valgrind"
        return super().missing()

    def words(self, settings: Settings) -> list[str]:
        program, *words = super().words(settings)
        bare = str(OUTPUT / "calloutd-bare")
        subprocess.run(["strip", "--strip-debug", "-o", bare, program], check=True, timeout=60)
        for old in STEM.parent.glob(f"{STEM.name}-*"):
            old.unlink()
        options = ["--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={STEM}"]
        return ["valgrind", *options, bare, *words]


@dataclass(frozen=True)
class Profile:
    """One thread's part of callgrind's output."""

    instructions: int
    calls: Counter[str]

    @classmethod
    def read(cls, file: Path) -> Profile:
        names: dict[str, str] = {}
        calls: Counter[str] = Counter()
        called = ""
        instructions = 0
        for line in file.read_text().splitlines():
            key, _, value = line.partition("=")
            if key in {"fn", "cfn"} and (match := NAME.match(value)):
                if match[2] is not None:
                    names[match[1]] = match[2]
                called = names[match[1]]
            elif key == "calls":
                calls[called.removesuffix("'2")] += int(value.split()[0])
            elif line.startswith("summary:"):
                instructions = int(line.split()[1])
        return cls(instructions, calls)


def queue_counted(bench: Workbench) -> list[Entry]:
    """Every packet tagged: instructions, retains, locks and heap calls of the worker's thread."""
    from cases import flooding, running, warm_up  # noqa: PLC0415 (cases imports this module)

    subject = CountedCalloutd()
    reason = subject.missing()
    if reason is not None:
        bench.warnings.append(f"queue/retains: {reason}")
        return []
    with running(replace(bench, subjects=[subject]), subject, Settings()) as live:
        with flooding(bench, live, FLOOD_SECONDS):
            warm_up(live, PACKETS)
        namespace.wait_until(live.is_idle, FLOOD_SECONDS)
        packets = live.verdicts()
    # The worker has done by far the most.
    profiles = [Profile.read(file) for file in STEM.parent.glob(f"{STEM.name}-*")]
    worker = max(profiles, key=lambda profile: profile.instructions)
    counts = Counter({kind: 0 for kind in KINDS.values()})
    for name, kind in KINDS.items():
        counts[kind] += worker.calls[name]
    entries = [
        Entry("queue/instructions", subject.name, worker.instructions / packets, "per packet")
    ]
    return entries + [
        Entry(kind, subject.name, count / packets, "per packet") for kind, count in counts.items()
    ]
