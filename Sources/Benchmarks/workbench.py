# SPDX-License-Identifier: Apache-2.0
"""What all cases work with: the children, the subjects, and how long to measure."""

from __future__ import annotations

from dataclasses import dataclass, field

import namespace
from subjects import Subject

# The harness and, with `apart`, the sender have the other one.
SUBJECT_CPU = 1
OTHER_CPU = 0
START_SECONDS = 15


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int = 5
    slices: int = 3
    slice_seconds: float = 0.8
    steady_seconds: float = 5.0


@dataclass
class Workbench:
    """What a case works with."""

    children: namespace.Children
    subjects: list[Subject]
    effort: Effort
    apart: bool = False  # see `flooding`
    raw: dict[str, object] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
