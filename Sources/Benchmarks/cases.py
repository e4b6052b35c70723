# SPDX-License-Identifier: Apache-2.0
"""The cases, each a function from a workbench to lines of the table, and how they measure.

A host below this machine can take a third of its speed away for seconds, unseen in any counter, so
no side is measured far from the others in time: in every round all subjects are started afresh on
queues of their own, and short slices of the flood go to them in turn.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import counted
import filters
import frames
import kernel_filters
import namespace
from build import OUTPUT
from measure import COPY_PACKET, HeapCalls, Slice, between, queue_row, resident_kib, sample
from report import Entry
from subjects import Calloutd, Settings, Subject, log_of
from usertime import UserClock
from workbench import OTHER_CPU, START_SECONDS, SUBJECT_CPU, Workbench

# Lets some 2,000 packets wait, fewer than any queue length.
SEND_BUFFER_BYTES = 1_000_000
WARM_SECONDS = 40
DRAIN_SECONDS = 5
STEADY_WINDOWS = 5


@dataclass(frozen=True)
class Live:
    """A running subject."""

    subject: Subject
    settings: Settings
    child: subprocess.Popen[bytes]

    def verdicts(self) -> int:
        row = queue_row(self.settings.queue)
        return row.verdicts if row else 0

    def is_idle(self) -> bool:
        row = queue_row(self.settings.queue)
        return row is None or row.waiting == 0


@contextmanager
def running(
    bench: Workbench,
    subject: Subject,
    settings: Settings,
    environment: dict[str, str] | None = None,
) -> Iterator[Live]:
    """Starts a subject and waits until its queue is as the case wants it."""
    words = subject.words(settings)
    child = bench.children.start(words, SUBJECT_CPU, log_of(subject), environment)

    def is_bound() -> bool:
        if child.poll() is not None:
            raise RuntimeError(f"{subject.name} ended at start, see {log_of(subject)}")
        row = queue_row(settings.queue)
        return row is not None and row.copy_mode == COPY_PACKET

    if not namespace.wait_until(is_bound, START_SECONDS):
        raise RuntimeError(f"{subject.name} did not bind queue {settings.queue} in time")
    if not namespace.wait_until(subject.is_ready, START_SECONDS):
        raise RuntimeError(f"{subject.name} bound its queue but does not answer")
    row = queue_row(settings.queue)
    copy_range = min(settings.copy_range, subject.largest_copy_range)
    if row is None or row.copy_range != copy_range:
        raise RuntimeError(f"{subject.name}: the copy range is not {copy_range}: {row}")
    try:
        yield Live(subject, settings, child)
    finally:
        bench.children.stop(child)


@contextmanager
def flooding(bench: Workbench, live: Live, seconds: float) -> Iterator[None]:
    """Floods one subject; leaves its queue empty.

    The sender shares the subject's CPU and goes before it: it fills its send buffer, sleeps, and
    is woken when half of that is free. So some 1,000 packets at least always wait, no batch is
    ever short, nothing is dropped, and no cache line or wake-up crosses CPUs. From a CPU of its
    own (`apart`) it is slower than the packed loop, which then gets batches of 7, and what is
    measured is the sender.
    """
    namespace.queue_output(live.settings.queue)
    words = [str(OUTPUT / "flood"), "--address", namespace.TARGET, "--seconds", str(seconds)]
    flood = bench.children.start(
        [*words, "--send-buffer", str(SEND_BUFFER_BYTES)],
        OTHER_CPU if bench.apart else SUBJECT_CPU,
        OUTPUT / "flood.log",
        realtime=not bench.apart,
    )
    try:
        yield
    finally:
        bench.children.stop(flood)
        namespace.wait_until(live.is_idle, DRAIN_SECONDS)


def warm_up(live: Live, packets: int) -> None:
    first = live.verdicts()
    if not namespace.wait_until(lambda: live.verdicts() - first >= packets, WARM_SECONDS, 0.05):
        done = live.verdicts() - first
        raise RuntimeError(f"{live.subject.name} handled only {done} packets in {WARM_SECONDS} s")


def one_slice(bench: Workbench, live: Live) -> Slice:
    seconds = bench.effort.slice_seconds
    with flooding(bench, live, seconds + 5):
        warm_up(live, 20_000)
        first = sample(live.child.pid, live.settings.queue)
        time.sleep(seconds)
        return between(first, sample(live.child.pid, live.settings.queue))


def pooled(slices: list[Slice]) -> Slice:
    """Slices of one round taken together."""
    return Slice(**{name: sum(getattr(one, name) for one in slices) for name in vars(slices[0])})


def one_round(bench: Workbench, settings: Settings, number: int) -> dict[str, Slice]:
    """All subjects started afresh; slices in turn, in another order each time."""
    slices: dict[str, list[Slice]] = {}
    with ExitStack() as stack:
        lives = [
            stack.enter_context(running(bench, subject, settings.on(settings.queue + index)))
            for index, subject in enumerate(bench.subjects)
        ]
        for live in lives:
            with flooding(bench, live, WARM_SECONDS + 5):
                warm_up(live, live.subject.warm_packets)
        for index in range(bench.effort.slices):
            shift = (number + index) % len(lives)
            for live in lives[shift:] + lives[:shift]:
                slices.setdefault(live.subject.name, []).append(one_slice(bench, live))
    return {name: pooled(several) for name, several in slices.items()}


def compare(bench: Workbench, case: str, settings: Settings) -> dict[str, list[Slice]]:
    """Every subject's rounds, kept in the raw results too."""
    rounds = [one_round(bench, settings, number) for number in range(bench.effort.rounds)]
    result = {subject.name: [one[subject.name] for one in rounds] for subject in bench.subjects}
    bench.raw[case] = {name: [vars(one) for one in several] for name, several in result.items()}
    return result


def ratio_entries(case: str, results: dict[str, list[Slice]]) -> list[Entry]:
    """Packets per CPU-second of all, then calloutd against each; a ratio is taken in each round."""
    rates = {
        name: [one.packets_per_cpu_second for one in rounds] for name, rounds in results.items()
    }
    return against_each(case, rates, "packets per CPU-second")


def against_each(case: str, rates: dict[str, list[float]], unit: str) -> list[Entry]:
    """The medians of all, then calloutd against each; a ratio is taken in each round."""
    entries = [
        Entry(case, name, statistics.median(several), unit) for name, several in rates.items()
    ]
    ours = rates.get("calloutd")
    if ours is not None:
        for name, theirs in rates.items():
            if name != "calloutd":
                ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
                entries.append(Entry(case, "calloutd", statistics.median(ours), unit, name, ratio))
    return entries


def queue_tagged(bench: Workbench) -> list[Entry]:
    """Every packet through one queue, and out with a mark of its own."""
    results = compare(bench, "queue/tagged", Settings())
    return ratio_entries("queue/tagged", results)


def queue_tagged_full_copy(bench: Workbench) -> list[Entry]:
    """The same with whole packets copied."""
    results = compare(bench, "queue/tagged-full-copy", Settings(copy_range=65531))
    return ratio_entries("queue/tagged-full-copy", results)


def check_marks(
    bench: Workbench, live: Live, first: tuple[int, ...], last: tuple[int, ...]
) -> None:
    """All packets must leave tagged, and with marks that differ."""
    left, tagged, odd = (after - before for before, after in zip(first, last, strict=True))
    if left == 0 or tagged < 0.999 * left or not 0.4 < odd / left < 0.6:
        bench.warnings.append(
            f"{live.subject.name}: of {left} packets {tagged} left tagged, {odd} with an odd tag"
        )


def queue_steady(bench: Workbench) -> list[Entry]:
    """After warm-up: user time and heap calls per packet, memory; and whether all are tagged."""
    entries = []
    settings = Settings()
    counts = OUTPUT / "heap-calls"
    environment = {
        "LD_PRELOAD": str(OUTPUT / "malloc-count.so"),
        "ALLOC_COUNT_FILE": str(counts),
    }
    namespace.count_marks(settings.mark_mask, 1 << settings.mark_shift)
    for subject in bench.subjects:
        counts.unlink(missing_ok=True)
        with (
            running(bench, subject, settings, environment) as live,
            closing(HeapCalls(counts)) as heap,
            closing(UserClock(live.child.pid)) as clock,
        ):
            if heap.allocations() == 0:
                raise RuntimeError(f"{subject.name}: the heap calls of its start were not seen")
            entries += _steady(bench, live, heap, clock)
    namespace.forget_marks()
    return entries


@dataclass(frozen=True)
class Reading:
    """What is read between the windows of a steady run."""

    packets: int
    heap_calls: int
    user_nanoseconds: int
    resident_kib: int


def _steady(bench: Workbench, live: Live, heap: HeapCalls, clock: UserClock) -> list[Entry]:
    name, pid = live.subject.name, live.child.pid

    def read() -> Reading:
        return Reading(live.verdicts(), heap.allocations(), clock.nanoseconds(), resident_kib(pid))

    seconds = bench.effort.steady_seconds
    readings = [read()]  # the first: before any packet
    with flooding(bench, live, WARM_SECONDS + seconds + 5):
        warm_up(live, live.subject.warm_packets)
        marks = namespace.read_marks()
        readings.append(read())
        for _ in range(STEADY_WINDOWS):
            time.sleep(seconds / STEADY_WINDOWS)
            readings.append(read())
        check_marks(bench, live, marks, namespace.read_marks())
    bench.raw[f"queue/steady {name}"] = [vars(one) for one in readings]
    steady = readings[1:]
    packets = max(steady[-1].packets - steady[0].packets, 1)
    calls = steady[-1].heap_calls - steady[0].heap_calls
    growth = steady[-1].resident_kib - steady[0].resident_kib
    user = statistics.median(
        (after.user_nanoseconds - before.user_nanoseconds) / max(after.packets - before.packets, 1)
        for before, after in itertools.pairwise(steady)
    )
    return [
        Entry("queue/user-time", name, user, "ns per packet"),
        Entry("queue/allocations", name, calls / packets, "per packet"),
        Entry("queue/memory", name, growth, "KiB grown"),
    ]


def lifecycle_tagged(bench: Workbench) -> list[Entry]:
    """Every packet tagged, with the kernel observed and without.

    One daemon at a time: what is attached to the kernel for one would cost the other, too.
    """
    results: dict[str, list[Slice]] = {}
    sides = [Calloutd("calloutd", "auto"), Calloutd("off", "verdicts")]
    for number in range(bench.effort.rounds):
        for side in sides if number % 2 else reversed(sides):
            alone = replace(bench, subjects=[side])
            one = one_round(alone, Settings(), number)[side.name]
            results.setdefault(side.name, []).append(one)
    bench.raw["lifecycle/tagged"] = {
        name: [vars(one) for one in several] for name, several in results.items()
    }
    return ratio_entries("lifecycle/tagged", results)


def lifecycle_untagged(bench: Workbench) -> list[Entry]:
    """A flood that no rule queues, with the kernel observed and without."""
    rates: dict[str, list[float]] = {"calloutd": [], "off": []}
    for _ in range(bench.effort.rounds * 2):
        # Off, on, on, off: what drifts while it is measured counts for both.
        first = plain_flood(bench)
        with running(bench, Calloutd("calloutd", "auto"), Settings()):
            watched = plain_flood(bench) + plain_flood(bench)
        rates["off"].append((first + plain_flood(bench)) / 2)
        rates["calloutd"].append(watched / 2)
    bench.raw["lifecycle/untagged"] = rates
    ratio = statistics.median(
        on / off for on, off in zip(rates["calloutd"], rates["off"], strict=True)
    )
    value = statistics.median(rates["calloutd"])
    off = statistics.median(rates["off"])
    return [
        Entry("lifecycle/untagged", "off", off, "packets per second"),
        Entry("lifecycle/untagged", "calloutd", value, "packets per second", "off", ratio),
    ]


def plain_flood(bench: Workbench) -> float:
    """Packets that a flood without any rule sends in a second."""
    namespace.queue_output(None)
    log = OUTPUT / "flood.log"
    words = [str(OUTPUT / "flood"), "--address", namespace.TARGET]
    seconds = bench.effort.slice_seconds
    flood = bench.children.start([*words, "--seconds", str(seconds)], SUBJECT_CPU, log)
    flood.wait()
    result = json.loads(log.read_text().splitlines()[-1])
    return float(result["sent"] / result["seconds"])


def bulk_rate(bench: Workbench, subject: Subject | None, settings: Settings) -> float:
    """Bits per second of one TCP connection, its data packets answered by a subject or unqueued.

    The sender has a CPU of its own, the receiver shares the subject's: what a verdict lets go is
    received on that CPU. Left to themselves they move, and which placement a round gets decides it.
    """
    seconds = bench.effort.slice_seconds * bench.effort.slices
    with ExitStack() as stack:
        live = None
        if subject is not None:
            live = stack.enter_context(running(bench, subject, settings))
        namespace.queue_output(settings.queue if live else None, frames.NEAR)
        stack.callback(namespace.queue_output, None, frames.NEAR)
        marks = namespace.read_marks()
        rate = frames.transfer(bench, seconds, OTHER_CPU, SUBJECT_CPU)
        if live is not None:
            check_tagged(bench, live, marks, namespace.read_marks())
    return rate


def check_tagged(
    bench: Workbench, live: Live, first: tuple[int, ...], last: tuple[int, ...]
) -> None:
    """All packets must have been queued and leave tagged."""
    left, tagged = last[0] - first[0], last[1] - first[1]
    if left == 0 or tagged < 0.999 * left:
        bench.warnings.append(f"{live.subject.name}: of {left} packets {tagged} left tagged")


def queue_bulk_tcp(bench: Workbench) -> list[Entry]:
    """Bulk data with every packet of its direction through a queue, and out with its own mark."""
    settings = Settings()
    sides: list[Subject | None] = [*bench.subjects, None]
    rates: dict[str, list[float]] = {}
    with frames.peer():
        namespace.count_marks(settings.mark_mask, 1 << settings.mark_shift, frames.NEAR)
        for number in range(bench.effort.rounds):
            shift = number % len(sides)
            for side in sides[shift:] + sides[:shift]:
                name = side.name if side is not None else "direct"
                rates.setdefault(name, []).append(bulk_rate(bench, side, settings))
        namespace.forget_marks()
    bench.raw["queue/bulk-tcp"] = rates
    return against_each("queue/bulk-tcp", rates, "bits per second")


CASES: dict[str, Callable[[Workbench], list[Entry]]] = {
    "tagged": queue_tagged,
    "steady": queue_steady,
    "counted": counted.queue_counted,
    "tagged-full-copy": queue_tagged_full_copy,
    "bulk-tcp": queue_bulk_tcp,
    "lifecycle-tagged": lifecycle_tagged,
    "lifecycle-untagged": lifecycle_untagged,
    "l2-permit": frames.l2_permit,
    "l2-permit-ring": frames.l2_permit_ring,
    "l2-batches": frames.l2_batches,
    "l2-allocations": frames.l2_allocations,
    "l2-bulk-tcp": frames.l2_bulk_tcp,
    "l2-ping": frames.l2_ping,
    "kernel-filters-tcp": kernel_filters.kernel_filters_tcp,
    "kernel-filters-tcp-bypass": kernel_filters.kernel_filters_tcp_bypass,
    "filters": filters.filters,
}
DEFAULT_CASES = tuple(name for name in CASES if name != "tagged-full-copy")
