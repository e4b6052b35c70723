# SPDX-License-Identifier: Apache-2.0
"""What the demo expects of each packet, what it saw, and how that looks on the screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

ANY = "any layer"
HEADER = "   since sent     event               layer                  reason    certainty handle"

Event = dict[str, Any]
Shape = tuple[str, str, str | None, str]  # event, layer, reason, certainty


def exits(layer: str) -> list[Shape]:
    """The life of a packet that is let go at its last layer."""
    return [
        ("exit_netio", layer, None, "exact"),
        ("context_removed", layer, "released", "exact"),
    ]


def matches(seen: Shape, wanted: Shape) -> bool:
    return seen == wanted or (wanted[1] == ANY and seen[::2] == wanted[::2])


@dataclass
class Scene:
    """One packet, or the packets of one connection, and what should become of each."""

    tag: str
    title: str
    route: str
    story: str
    expected: list[Shape]
    send: Callable[[], int]
    """Sends it and returns when, on CLOCK_MONOTONIC."""
    least_ms: float = 0
    least_lives: int = 1
    start: str = "sent"
    sent: int = 0
    lives: dict[str, list[Event]] = field(default_factory=dict)

    def problem(self) -> str | None:
        """What is missing or wrong, None if every life is as expected."""
        if len(self.lives) < self.least_lives:
            return f"{len(self.lives)} packets with tag {self.tag}, expected {self.least_lives}"
        for key, events in self.lives.items():
            seen = [(e["event"], e["layer"], e.get("reason"), e["certainty"]) for e in events]
            for what in self.expected:
                found = [one for one in seen if matches(one, what)]
                if not found:
                    return f"{key}: no {' '.join(filter(None, what))}"
                seen.remove(found[0])
            if seen:
                return f"{key}: {seen[0][0]} was not expected"
            if events[-1]["event"] != "context_removed":
                return f"{key}: context_removed was not the last event"
            if (events[0]["time"] - self.sent) / 1e6 < self.least_ms:
                return f"{key}: gone before {self.least_ms:.0f} ms were over"
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

    def row(self, start: int, event: Event) -> None:
        milliseconds = (event["time"] - start) / 1e6
        reason = event.get("reason", "")
        style = {"blocked": "bad", "released": "good"}.get(reason, "blue")
        name = self.paint("bold", f"{event['event']:<19}")
        self.line(
            f"  {milliseconds:+9.2f} ms  {name} {event['layer']:<22}"
            f" {self.paint(style, f'{reason:<9}')} {event['certainty']:<8} {event['handle']:>6}"
        )

    def scene(self, number: int, scene: Scene) -> None:
        self.line()
        self.line(f"{number}  {scene.title}", "bold")
        self.line(f"   {scene.route}", "dim")
        for context, events in list(scene.lives.items())[:1]:
            self.line(f"  {0:+9.2f} ms  {scene.start}; then tagged: {scene.tag} = {context}")
            for event in events:
                self.row(scene.sent, event)
        if len(scene.lives) > 1:
            self.line(
                f"{'':14}and {len(scene.lives) - 1} more packets of it, each with such a life"
            )
        problem = scene.problem()
        for text in scene.story.splitlines():
            self.line(f"   {text}", "dim")
        if problem:
            self.line(f"   MISSING  {problem}", "bad")
