# SPDX-License-Identifier: Apache-2.0
"""What looking filters up costs, and compiling them: the engine alone, without packets."""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
from contextlib import closing
from pathlib import Path

from build import OUTPUT
from measure import HeapCalls
from report import Entry
from subjects import RELEASE
from workbench import Workbench

PACKETS_PER_ROUND = 5 * 1024


def cost(count: int) -> dict[str, float]:
    """What one run of the subject with so many filters says."""
    words = [str(RELEASE / "filter-cost"), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def heap_calls(count: int, rounds: int) -> int:
    """The allocations of one run of the subject."""
    counts = OUTPUT / "filter-heap-calls"
    counts.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(OUTPUT / "malloc-count.so"),
        "ALLOC_COUNT_FILE": str(counts),
    }
    words = [str(RELEASE / "filter-cost"), str(count), str(rounds)]
    subprocess.run(words, capture_output=True, check=True, timeout=300, env=environment)
    with closing(HeapCalls(counts)) as heap:
        return heap.allocations()


def allocations(count: int) -> float:
    """What a packet allocates among so many filters: two runs that differ in packets alone."""
    first, last = heap_calls(count, 10), heap_calls(count, 110)
    if first == 0:
        raise RuntimeError("filter-cost: the heap calls of its start were not seen")
    return (last - first) / (100 * PACKETS_PER_ROUND)


def parsed(count: int, file: Path) -> float:
    """The CPU time that `calloutd check` takes for a policy file of so many filters."""
    dice = random.Random(5)
    with file.open("w") as text:
        text.write("filters:\n")
        for number in range(count):
            address = f"10.{dice.randrange(256)}.{dice.randrange(256)}.0/24"
            port = dice.randrange(65536)
            text.write(
                f"  - name: filter {number}\n"
                "    layer: outbound-transport-v4\n"
                "    conditions:\n"
                "      - { field: ip-protocol, match: equal, value: tcp }\n"
                f"      - {{ field: ip-remote-address, match: prefix, value: {address} }}\n"
                f"      - {{ field: ip-remote-port, match: equal, value: {port} }}\n"
                "    action: block\n"
            )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [str(RELEASE / "calloutd"), "check", "--config", str(file)]
    subprocess.run(words, capture_output=True, check=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    file.unlink()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def filters(bench: Workbench) -> list[Entry]:
    """Mixed filters in four sublayers: a packet's way through 10,000 against that through 10."""
    few, many, ratios = [], [], []
    for _ in range(bench.effort.rounds):
        few.append(cost(10)["nanoseconds"])
        many.append(cost(10_000)["nanoseconds"])
        ratios.append(few[-1] / many[-1])
    compiled = min(cost(100_000)["compile_seconds"] for _ in range(3))
    checked = parsed(100_000, OUTPUT / "many.yaml")
    value = statistics.median(many)
    unit = "ns per packet"
    return [
        Entry("filters/10", "calloutd", statistics.median(few), unit),
        Entry("filters/10000", "calloutd", value, unit),
        Entry(
            "filters/10000", "calloutd", value, unit, "filters/10", statistics.median(ratios)
        ),
        Entry("filters/compile-100000", "calloutd", compiled, "CPU-seconds"),
        Entry("filters/check-100000", "calloutd", checked, "CPU-seconds"),
        Entry("filters/allocations", "calloutd", allocations(10_000), "per packet"),
    ]
