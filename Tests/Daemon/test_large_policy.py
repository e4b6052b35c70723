# SPDX-License-Identifier: Apache-2.0
"""A policy of 100,000 random filters: every error in it is told with its place, none is applied."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from daemon import CALLOUTD, every, policy, rules_of

FILTERS = 100_000
HEAD = """\
sublayers:
  - { name: high, weight: 0xf000 }
  - { name: low, weight: 1 }
callouts:
  - { name: tags, type: tag }
  - { name: watch, type: inspect }
filters:
"""
LAYERS = ["outbound-transport-v4", "inbound-transport-v4", "outbound-ippacket-v4"]


class Policy:
    """The text as it grows, and where its errors are."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines = HEAD.splitlines()
        self.errors: list[tuple[int, int, str]] = []

    def put(self, line: str, error: str = "", at: int = 0) -> None:
        """Adds a line; `error` is a part of what must be said of its column `at`."""
        self.lines.append(line)
        if error:
            self.errors.append((len(self.lines), at, error))

    def add(self, number: int, fault: str = "") -> None:
        """Adds a filter, with one error if there is a fault."""
        layer = self.random.choice(LAYERS)
        if fault == "field" or fault == "prefix":
            layer = "outbound-transport-v4"
        self.put(f"  - name: filter {number}")
        if fault == "layer":
            self.put("    layer: outbound-transport-v5", "outbound-transport-v5", 12)
        else:
            self.put(f"    layer: {layer}")
        if fault == "sublayer":
            self.put("    sublayer: absent", 'no sublayer "absent"', 15)
        else:
            self.put(f"    sublayer: {self.random.choice(['high', 'low', 'default'])}")
        if fault == "key":
            self.put("    wieght: 7", 'unknown key "wieght"', 5)
        elif fault == "weight":
            self.put("    weight: heavy", '"heavy"', 13)
        else:
            self.put(f"    weight: {self.random.randrange(1 << 40)}")
        self.put("    conditions:")
        address = ".".join(str(self.random.randrange(1, 255)) for _ in range(4))
        if fault == "prefix":
            self.put(
                "      - { field: ip-remote-address, match: prefix, value: 10.0.0.0/33 }",
                '"10.0.0.0/33"',
                59,
            )
        else:
            length = self.random.randrange(8, 33)
            self.put(
                "      - { field: ip-destination-address, match: prefix, "
                f"value: {address}/{length} }}"
            )
        if fault == "value":
            self.put("      - { field: ip-protocol, match: equal, value: 999 }", '"999"', 52)
        elif fault == "field":
            self.put(
                "      - { field: ether-type, match: equal, value: arp }", "have no ether-type", 18
            )
        else:
            self.put("      - { field: ip-protocol, match: equal, value: 17 }")
        if fault == "callout":
            self.put("    action: callout-unknown")
            self.put("    callout: nobody", 'no callout "nobody"', 14)
        elif fault == "duplicate":
            self.put("    action: block")
            self.put("    action: permit", 'duplicate key "action"', 5)
        elif number % 50 == 0:
            self.put("    action: callout-inspection")
            self.put("    callout: watch")
        else:
            self.put(f"    action: {self.random.choice(['permit', 'block'])}")

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


FAULTS = [
    "layer", "sublayer", "key", "weight", "prefix", "value", "field", "callout", "duplicate",
]  # fmt: skip


def write(file: Path, faults: int) -> Policy:
    """A policy file with that many errors, anywhere in it."""
    made = Policy(seed=5)
    wrong = set(made.random.sample(range(FILTERS), faults))
    for number in range(FILTERS):
        made.add(number, made.random.choice(FAULTS) if number in wrong else "")
    file.write_text(made.text)
    return made


def test_every_error_of_100000_filters_is_told_with_its_place(net, tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    made = write(file, faults=1000)
    start = time.monotonic()
    done = net.host.run(CALLOUTD, "check", "--json", "--config", str(file), check=False)
    print(f"checked {FILTERS} filters with errors in {time.monotonic() - start:.1f} s")
    assert done.returncode == 1
    told = [json.loads(line) for line in done.stdout.splitlines()]
    places = [(each["line"], each["column"]) for each in told]
    assert places == sorted(places)
    assert places == [(line, column) for line, column, _ in made.errors]
    for each, (_, _, part) in zip(told, made.errors, strict=True):
        assert part in each["message"]


def test_a_large_policy_with_one_error_changes_nothing(net, prepare) -> None:
    daemon = prepare(policy(every("outbound-transport-v4", "permit", name="small")))
    daemon.start()
    before = rules_of(net.host)
    made = write(daemon.file, faults=1)
    done = daemon.ctl("reload")
    ((line, column, part),) = made.errors
    assert done.returncode == 1
    assert f":{line}:{column}: error: " in done.stderr and part in done.stderr
    assert rules_of(net.host) == before
    assert [each["name"] for each in daemon.ask("filters")] == ["small"]


def test_100000_filters_are_right(net, tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    write(file, faults=0)
    start = time.monotonic()
    done = net.host.run(CALLOUTD, "check", "--config", str(file), check=False)
    print(f"checked {FILTERS} filters in {time.monotonic() - start:.1f} s")
    assert done.returncode == 0 and f"fine: {FILTERS} filters" in done.stdout
