# SPDX-License-Identifier: Apache-2.0
"""Lines of the result, their targets, the table and results.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One line of the result; `against` and `ratio` belong together."""

    case: str
    subject: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Target:
    """What calloutd has to reach: a ratio at least, or a value at most."""

    limit: float
    is_ratio: bool = False

    def is_met(self, entry: Entry) -> bool:
        if self.is_ratio:
            return entry.ratio is not None and entry.ratio >= self.limit
        return entry.value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.is_ratio else '<='} {self.limit:g}"


# Keyed by case and by what calloutd is set against.
TARGETS: dict[tuple[str, str | None], Target] = {
    ("queue/tagged", "c-packed"): Target(0.95, is_ratio=True),
    ("queue/tagged", "c-plain"): Target(1.2, is_ratio=True),
    ("queue/tagged", "python-netfilterqueue"): Target(1.45, is_ratio=True),
    ("queue/bulk-tcp", "python-netfilterqueue"): Target(6.0, is_ratio=True),
    ("queue/bulk-tcp", "direct"): Target(0.95, is_ratio=True),
    ("lifecycle/tagged", "off"): Target(0.85, is_ratio=True),
    ("lifecycle/untagged", "off"): Target(0.97, is_ratio=True),
    ("l2/permit", "c-packet-copy"): Target(1.0, is_ratio=True),
    ("l2/permit", "c-packet-mark"): Target(0.95, is_ratio=True),
    ("l2/permit-ring", "c-packet-copy"): Target(1.3, is_ratio=True),
    ("l2/bulk-tcp", "direct"): Target(0.65, is_ratio=True),
    ("kernel-filters/tcp", "no-rules"): Target(0.95, is_ratio=True),
    ("kernel-filters/tcp-bypass", "no-rules"): Target(0.95, is_ratio=True),
    ("queue/user-time", None): Target(300),
    # One call per batch of 384 packets would be 0.0026; timers of a daemon are far below this.
    ("queue/allocations", None): Target(0.0005),
    # A worker retains its policy and callouts once a batch.
    ("queue/retains", None): Target(0.02),
    ("queue/locks", None): Target(0.02),
    ("queue/heap-calls", None): Target(0.05),
    ("l2/allocations", None): Target(0.0005),
    ("queue/memory", None): Target(128),
    ("filters/10000", None): Target(1000),
    ("filters/10000", "filters/10"): Target(1 / 3, is_ratio=True),
    ("filters/compile-100000", None): Target(2),
}


def target_of(entry: Entry) -> Target | None:
    return TARGETS.get((entry.case, entry.against)) if entry.subject == "calloutd" else None


def missed(entries: Iterable[Entry]) -> list[str]:
    """One line for each target that was not reached."""
    lines = []
    for entry in entries:
        target = target_of(entry)
        if target is not None and not target.is_met(entry):
            got = entry.ratio if target.is_ratio else entry.value
            side = f" against {entry.against}" if entry.against else ""
            lines.append(f"{entry.case}{side}: {got:.4g}, target {target}")
    return lines


def table(entries: Iterable[Entry]) -> str:
    rows = [("case", "subject", "value", "unit", "against", "ratio", "target", "")]
    for entry in entries:
        target = target_of(entry)
        number = f"{entry.value:,.0f}" if abs(entry.value) >= 100 else f"{entry.value:.4g}"
        rows.append(
            (
                entry.case,
                entry.subject,
                number,
                entry.unit,
                entry.against or "",
                "" if entry.ratio is None else f"{entry.ratio:.3f}",
                "" if target is None else str(target),
                "" if target is None else ("met" if target.is_met(entry) else "MISSED"),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = {2, 5}  # value and ratio
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def write_json(path: Path, value: object) -> None:
    """Replaces the file in one step."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)


def write_entries(path: Path, entries: Iterable[Entry]) -> None:
    write_json(path, [asdict(entry) for entry in entries])
