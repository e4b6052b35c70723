# SPDX-License-Identifier: Apache-2.0
"""What looking filters up costs, and compiling them: the engine alone, without packets."""

from __future__ import annotations

import json
import statistics
import subprocess

from report import Entry
from subjects import RELEASE
from workbench import Workbench


def cost(count: int) -> dict[str, float]:
    """What one run of the subject with so many filters says."""
    words = [str(RELEASE / "filter-cost"), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def filters(bench: Workbench) -> list[Entry]:
    """Mixed filters in four sublayers: a packet's way through 10,000 against that through 10."""
    few, many, ratios = [], [], []
    for _ in range(bench.effort.rounds):
        few.append(cost(10)["nanoseconds"])
        many.append(cost(10_000)["nanoseconds"])
        ratios.append(few[-1] / many[-1])
    compiled = min(cost(100_000)["compile_seconds"] for _ in range(3))
    value = statistics.median(many)
    unit = "ns per packet"
    return [
        Entry("filters/10", "calloutd", statistics.median(few), unit),
        Entry("filters/10000", "calloutd", value, unit),
        Entry(
            "filters/10000", "calloutd", value, unit, "filters/10", statistics.median(ratios)
        ),
        Entry("filters/compile-100000", "calloutd", compiled, "CPU-seconds"),
    ]
