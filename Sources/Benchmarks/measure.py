# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of queues and processes; the same readings for every subject."""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass
from pathlib import Path

QUEUES = Path("/proc/net/netfilter/nfnetlink_queue")
COPY_PACKET = 2


@dataclass(frozen=True)
class QueueRow:
    """One line of /proc/net/netfilter/nfnetlink_queue."""

    waiting: int
    copy_mode: int
    copy_range: int
    dropped: int
    user_dropped: int
    issued: int

    @property
    def verdicts(self) -> int:
        """Packets that left the queue by a verdict: ids issued, less those lost or waiting."""
        return self.issued - self.user_dropped - self.waiting


def queue_row(queue: int) -> QueueRow | None:
    """The queue's line, or None while nobody has bound it."""
    for line in QUEUES.read_text().splitlines():
        fields = [int(field) for field in line.split()]
        if fields[0] == queue:
            return QueueRow(*fields[2:8])
    return None


@dataclass(frozen=True)
class Usage:
    """CPU time of a process, all its threads, and how often they went to sleep."""

    cpu_nanoseconds: int
    sleeps: int


def usage(pid: int) -> Usage:
    cpu = sleeps = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu += int((task / "schedstat").read_text().split()[0])
        status = (task / "status").read_text()
        sleeps += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return Usage(cpu, sleeps)


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("\nVmRSS:")[1].split()[0])


@dataclass(frozen=True)
class Sample:
    """Everything read at one moment."""

    time: float
    row: QueueRow
    usage: Usage


def sample(pid: int, queue: int) -> Sample:
    row = queue_row(queue)
    if row is None:
        raise RuntimeError(f"queue {queue} is not bound any more")
    return Sample(time.monotonic(), row, usage(pid))


@dataclass(frozen=True)
class Slice:
    """What one subject did between two samples."""

    packets: int
    cpu_nanoseconds: int
    seconds: float
    sleeps: int
    dropped: int

    @property
    def packets_per_cpu_second(self) -> float:
        return self.packets * 1e9 / max(self.cpu_nanoseconds, 1)


def between(first: Sample, last: Sample) -> Slice:
    return Slice(
        packets=last.row.verdicts - first.row.verdicts,
        cpu_nanoseconds=last.usage.cpu_nanoseconds - first.usage.cpu_nanoseconds,
        seconds=last.time - first.time,
        sleeps=last.usage.sleeps - first.usage.sleeps,
        dropped=(last.row.dropped + last.row.user_dropped)
        - (first.row.dropped + first.row.user_dropped),
    )


class HeapCalls:
    """The counters that malloc-count.c lays into a file."""

    LAYOUT = struct.Struct("<5Q")  # malloc, calloc, realloc, aligned, free

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), self.LAYOUT.size, access=mmap.ACCESS_READ)

    def allocations(self) -> int:
        """All calls so far that may have allocated."""
        return sum(self.LAYOUT.unpack_from(self._map)[:4])

    def close(self) -> None:
        self._map.close()
