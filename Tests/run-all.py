#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every test of built sources, and sums up all runners in the last line.

As root: the unit tests, the tests of rules and of queues, each in namespaces of their own, and
those of the daemon, several at a time since most of them wait most of the time. Without root the unit tests run and the rest counts as skipped. Expects
`swift build --build-tests` and, as root, `make release` to have been done. In the machine of
Tests/Guest, where there is no `swift`, the tests of rules, queues and the daemon run.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".build/test-results"
NAMESPACE = str(ROOT / "Tests/run-in-namespace.sh")
PYTHON = "/usr/bin/python3"
SWIFT_TEST = ["swift", "test", "--skip-build", "--disable-xctest"]
BUNDLE = [str(ROOT / ".build/debug/calloutPackageTests.xctest")]
BUNDLE += ["--testing-library", "swift-testing"]
# Their rules and queues must not meet those of other tests.
NAMESPACED = ("FirewallRulesTests", "NetnsTests")
# Those of the queues' suites that take over half a minute each: about half of the whole time.
LONG_SUITES = ("FilterChanges", "KernelFilters", "Million", "Reloads")
# Those of the queues' suites that depend on the kernel.
SUITES_IN_GUEST = (
    *("Bearers", "BridgeFamily", "Divert(Death|Neighbours|Priority|RawIP|Traffic)", "Fates"),
    *("FrameLayers", "Lifecycle", "Owners", "VirtualSwitch"),
)
# Those of the daemon's tests that depend on the kernel, and not on the machine's speed.
IN_GUEST = (
    "test_lifecycle.py",
    "test_native_queue.py",
    "test_rule_files.py",
    "test_foreign_rules.py",
    "test_death.py",
    "test_probe.py",
    "test_flush.py",
    "test_vswitch.py",
    "test_boot.py",
)


@dataclass
class Count:
    """How many tests ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass
class Runner:
    """A program that runs tests and writes an xUnit file."""

    name: str
    words: list[str]
    limit: int
    """Seconds after which it is ended."""

    def run(self, output: IO[bytes] | None = None) -> Count:
        """Runs it; what it prints goes to `output` if there is one."""
        for old in self._reports():
            old.unlink()
        print(f"==> {self.name}", flush=True)
        start = time.monotonic()
        status = self._wait(output)
        count = self._count()
        if output is not None:
            show(output)
        if status != 0 and count.failed == 0:
            print(f"{self.name} ended with status {status} and no failed test", flush=True)
            count.failed = 1
        elif status == 0 and count == Count():
            print(f"{self.name}: nothing ran", flush=True)
            count.failed = 1
        print(f"==> {self.name}: {count} ({time.monotonic() - start:.0f} s)", flush=True)
        return count

    def log(self) -> Path:
        """Where the output goes while others run too."""
        return RESULTS / f"{self.name}.log"

    def _wait(self, output: IO[bytes] | None) -> int:
        # Not inherited: in namespaces of its own is what the script has to make sure of.
        environment = {name: value for name, value in os.environ.items() if name != "CALLOUT_NETNS"}
        process = subprocess.Popen(
            self.words,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        with ended_with_us(process):
            try:
                return process.wait(self.limit)
            except subprocess.TimeoutExpired:
                print(f"{self.name} was ended after {self.limit} s", flush=True)
                return 124

    def _reports(self) -> list[Path]:
        # SwiftPM puts "-swift-testing" into the name when it runs XCTest too.
        names = (f"{self.name}.xml", f"{self.name}-swift-testing.xml")
        return [RESULTS / name for name in names if (RESULTS / name).exists()]

    def _count(self) -> Count:
        count = Count()
        for report in self._reports():
            try:
                cases = list(ElementTree.parse(report).iter("testcase"))
            except ElementTree.ParseError:
                print(f"{report} was not written to its end", flush=True)
                continue
            for case in cases:
                if case.find("failure") is not None or case.find("error") is not None:
                    count.failed += 1
                elif case.find("skipped") is not None:
                    count.skipped += 1
                else:
                    count.passed += 1
        return count


_running: set[subprocess.Popen[bytes]] = set()


@contextmanager
def ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """No process of a test outlives what it was begun for."""
    _running.add(process)
    try:
        yield
    finally:
        _running.discard(process)
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def show(output: IO[bytes]) -> None:
    """Prints what was written, in one piece."""
    output.seek(0)
    sys.stdout.flush()
    sys.stdout.buffer.write(output.read())
    sys.stdout.flush()


def in_order(runners: list[Runner]) -> Count:
    """Runs them one after the other while others run."""
    total = Count()
    for runner in runners:
        with runner.log().open("w+b") as output:
            total.add(runner.run(output))
    return total


def side_by_side(lanes: list[list[Runner]]) -> Count:
    """Runs the lanes at the same time; what each runner prints comes when it has ended."""
    total = Count()
    with ThreadPoolExecutor(len(lanes)) as pool:
        try:
            for count in pool.map(in_order, lanes):
                total.add(count)
        except BaseException:
            for lane in lanes:
                lane.clear()
            for process in list(_running):
                end(process)
            raise
    return total


def report(name: str) -> str:
    return str(RESULTS / f"{name}.xml")


def unit_runner(*, left_out: tuple[str, ...]) -> Runner:
    words = [*SWIFT_TEST, "--parallel", "--xunit-output", report("unit")]
    for target in left_out:
        words += ["--skip", rf"^{target}\."]
    return Runner("unit", words, limit=300)


def namespaced_runner(target: str, name: str | None = None) -> Runner:
    # Not by `swift test`, of which only one runs at a time.
    name = name or target
    words = [NAMESPACE, *BUNDLE, "--no-parallel", "--xunit-output", report(name)]
    return Runner(name, [*words, "--filter", rf"^{target}\."], limit=900)


def queue_runners() -> tuple[Runner, Runner]:
    """The tests of queues in two halves, the suites that take long and the others."""
    long = namespaced_runner("NetnsTests", "NetnsTests-long")
    suites = rf"^NetnsTests\.NetnsTests/({'|'.join(LONG_SUITES)})/"
    long.words[-1] = suites
    others = namespaced_runner("NetnsTests")
    others.words += ["--skip", suites]
    return long, others


def daemon_runner(names: tuple[str, ...] = ("",)) -> Runner:
    words = [PYTHON, "-B", "-m", "pytest", "-p", "no:cacheprovider"]
    words += [f"Tests/Daemon/{name}" for name in names]
    return Runner("Daemon", [*words, f"--junitxml={report('Daemon')}"], limit=900)


def guest_runners() -> list[Runner]:
    """What depends on the kernel; an emulated machine is too slow for the rest."""
    runners = [namespaced_runner(target) for target in NAMESPACED]
    runners[-1].words[-1] = rf"^NetnsTests\.NetnsTests/({'|'.join(SUITES_IN_GUEST)})/"
    runners.append(daemon_runner(IN_GUEST))
    for runner in runners:
        runner.limit *= 2
    part = os.environ.get("CALLOUT_PART")
    return [one for one in runners if part is None or (part == "queues") == (one is runners[1])]


def listed() -> int:
    """How many tests of queues there are; without root these cannot skip themselves."""
    words = [*SWIFT_TEST, "list"]
    lines = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return len(re.findall(r"^NetnsTests\.", lines, re.MULTILINE))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--unit", action="store_true", help="only the unit tests")
    parser.add_argument("--guest", action="store_true", help="those that make guest-test runs")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    is_root = os.geteuid() == 0
    has_daemon_tests = (ROOT / "Tests/Daemon").is_dir()

    total = Count()
    if options.guest:
        for runner in guest_runners():
            total.add(runner.run())
        return summary(total)
    # The suites of FirewallRulesTests that need root know it; NetnsTests all do.
    unit = unit_runner(left_out=NAMESPACED if is_root else NAMESPACED[1:])
    daemon = [daemon_runner()] if has_daemon_tests and not options.unit else []
    if is_root and not options.unit:
        long, others = queue_runners()
        rules = namespaced_runner("FirewallRulesTests")
        return summary(side_by_side([[long], [rules, others], [unit, *daemon]]))
    for runner in [unit, *daemon]:
        total.add(runner.run())
    if not options.unit:
        skipped = listed()
        print(f"==> NetnsTests: {skipped} skipped, they need root", flush=True)
        total.skipped += skipped
    return summary(total)


def summary(total: Count) -> int:
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
