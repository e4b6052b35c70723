#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every test of built sources, and sums up all runners in the last line.

As root: the unit tests, then the tests of rules and of queues, each in namespaces of their own,
then those of the daemon. Without root the unit tests run and the rest counts as skipped. Expects
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
from dataclasses import dataclass
from pathlib import Path
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
# Those of the queues' suites that depend on the kernel.
SUITES_IN_GUEST = (
    *("Bearers", "BridgeFamily", "Divert(Death|Neighbours|Priority|RawIP|Traffic)", "Fates"),
    *("FrameLayers", "Lifecycle", "VirtualSwitch"),
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

    def run(self) -> Count:
        for old in self._reports():
            old.unlink()
        print(f"==> {self.name}", flush=True)
        start = time.monotonic()
        status = self._wait()
        count = self._count()
        if status != 0 and count.failed == 0:
            print(f"{self.name} ended with status {status} and no failed test", flush=True)
            count.failed = 1
        elif status == 0 and count == Count():
            print(f"{self.name}: nothing ran", flush=True)
            count.failed = 1
        print(f"==> {self.name}: {count} ({time.monotonic() - start:.0f} s)", flush=True)
        return count

    def _wait(self) -> int:
        # Not inherited: in namespaces of its own is what the script has to make sure of.
        environment = {name: value for name, value in os.environ.items() if name != "CALLOUT_NETNS"}
        process = subprocess.Popen(
            self.words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            return process.wait(self.limit)
        except subprocess.TimeoutExpired:
            print(f"{self.name} was ended after {self.limit} s", flush=True)
            return 124
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

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


def report(name: str) -> str:
    return str(RESULTS / f"{name}.xml")


def unit_runner(*, left_out: tuple[str, ...]) -> Runner:
    words = [*SWIFT_TEST, "--parallel", "--xunit-output", report("unit")]
    for target in left_out:
        words += ["--skip", rf"^{target}\."]
    return Runner("unit", words, limit=300)


def namespaced_runner(target: str, swift_test: list[str] = SWIFT_TEST) -> Runner:
    words = [NAMESPACE, *swift_test, "--no-parallel", "--xunit-output", report(target)]
    return Runner(target, [*words, "--filter", rf"^{target}\."], limit=600)


def daemon_runner(names: tuple[str, ...] = ("",)) -> Runner:
    words = [PYTHON, "-B", "-m", "pytest", "-p", "no:cacheprovider"]
    words += [f"Tests/Daemon/{name}" for name in names]
    return Runner("Daemon", [*words, f"--junitxml={report('Daemon')}"], limit=600)


def guest_runners() -> list[Runner]:
    """What depends on the kernel; an emulated machine is too slow for the rest."""
    runners = [namespaced_runner(target, BUNDLE) for target in NAMESPACED]
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
    left_out = NAMESPACED if is_root else NAMESPACED[1:]
    total.add(unit_runner(left_out=left_out).run())
    if not options.unit:
        if is_root:
            for target in NAMESPACED:
                total.add(namespaced_runner(target).run())
        else:
            skipped = listed()
            print(f"==> NetnsTests: {skipped} skipped, they need root", flush=True)
            total.skipped += skipped
        if has_daemon_tests:
            total.add(daemon_runner().run())
    return summary(total)


def summary(total: Count) -> int:
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
