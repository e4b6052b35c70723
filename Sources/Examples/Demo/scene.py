# SPDX-License-Identifier: Apache-2.0
"""What the demo expects of each packet, what it saw, and how that looks on the screen."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

ANY = ".*"


@dataclass
class Step:
    """One event of a life: a line of `calloutctl trace`, or what such a line should say."""

    event: str
    layer: str
    certainty: str
    end: str = ""
    """How it ended, as a regular expression where it is expected."""

    def matches(self, seen: Step) -> bool:
        wanted = (self.event, self.layer, self.certainty, self.end)
        found = (seen.event, seen.layer, seen.certainty, seen.end)
        return all(re.fullmatch(one, other) for one, other in zip(wanted, found, strict=True))

    def __str__(self) -> str:
        return " ".join(filter(None, (self.event, self.layer, self.certainty, self.end)))


@dataclass
class Life:
    """What `calloutctl trace` printed of one context."""

    lines: list[str]

    @property
    def tag(self) -> str:
        return self.lines[0].split("=")[0]

    @property
    def milliseconds(self) -> float:
        return float(self.lines[-1].split()[0])

    @property
    def steps(self) -> list[Step]:
        rows = [line.split() for line in self.lines[1:]]
        return [Step(*row[3:6], " ".join(row[6:])) for row in rows]


@dataclass
class Scene:
    """One packet, or the packets of one connection, and what should become of each."""

    tag: str
    title: str
    route: str
    story: str
    expected: list[Step]
    send: Callable[[], object]
    least_ms: float = 0
    least_lives: int = 1
    lives: list[Life] = field(default_factory=list)

    def problem(self) -> str | None:
        """What is missing or wrong, None if every life is as expected."""
        if len(self.lives) < self.least_lives:
            return f"{len(self.lives)} packets with tag {self.tag}, expected {self.least_lives}"
        for life in self.lives:
            seen = life.steps
            for step in self.expected:
                found = next((one for one in seen if step.matches(one)), None)
                if found is None:
                    return f"{life.lines[0]}: no {step}"
                seen.remove(found)
            if seen:
                return f"{life.lines[0]}: {seen[0]} was not expected"
            if life.steps[-1].event != "context_removed":
                return f"{life.lines[0]}: context_removed was not the last event"
            if life.milliseconds < self.least_ms:
                return f"{life.lines[0]}: gone before {self.least_ms:.0f} ms were over"
        return None


class Screen:
    """Prints in colour on a terminal, in plain text elsewhere."""

    colours: ClassVar = {"bold": "1", "dim": "2", "good": "32", "bad": "31", "blue": "36"}

    def __init__(self) -> None:
        self.coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def paint(self, style: str, text: str) -> str:
        return f"\033[{self.colours[style]}m{text}\033[0m" if self.coloured else text

    def line(self, text: str = "", style: str | None = None) -> None:
        print(self.paint(style, text) if style else text, flush=True)

    def life(self, life: Life) -> None:
        self.line(f"   {life.lines[0]}")
        for line, step in zip(life.lines[1:], life.steps, strict=True):
            line = line.replace(step.event, self.paint("bold", step.event), 1)
            if step.end:
                style = "bad" if re.match("blocked|dropped", step.end) else "good"
                line = line.removesuffix(step.end) + self.paint(style, step.end)
            self.line(line)

    def scene(self, number: int, scene: Scene) -> None:
        self.line()
        self.line(f"{number}  {scene.title}", "bold")
        self.line(f"   {scene.route}", "dim")
        if scene.lives:
            self.life(scene.lives[0])
        if len(scene.lives) > 1:
            self.line(f"   and {len(scene.lives) - 1} more packets of it, each with such a life")
        for text in scene.story.splitlines():
            self.line(f"   {text}", "dim")
        if problem := scene.problem():
            self.line(f"   MISSING  {problem}", "bad")
