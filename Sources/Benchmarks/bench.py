#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The harness behind `make bench`: calloutd beside other NFQUEUE programs, as root.

All traffic stays in a network namespace of this process, which goes when it does, as do the
children. Prints a table; writes results.json and rounds.json (every reading) to .build/bench.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import time

import build
import namespace
import report
from cases import CASES, DEFAULT_CASES
from subjects import Calloutd, CProgram, PythonNetfilterQueue, Subject
from workbench import Effort, Workbench


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--case", action="append", choices=CASES, help="run only these cases")
    parser.add_argument("--subject", action="append", help="run only these subjects")
    parser.add_argument("--rounds", type=int, default=Effort.rounds)
    parser.add_argument("--slices", type=int, default=Effort.slices)
    parser.add_argument("--slice-seconds", type=float, default=Effort.slice_seconds)
    parser.add_argument("--steady-seconds", type=float, default=Effort.steady_seconds)
    parser.add_argument(
        "--time-limit", type=int, default=570, help="seconds after which the run is given up"
    )
    parser.add_argument(
        "--priority", type=int, default=-19, help="nice value, so that other jobs disturb less"
    )
    parser.add_argument(
        "--apart", action="store_true", help="the sender on a CPU of its own, see cases.py"
    )
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    return parser.parse_args()


def choose_subjects(wanted: list[str] | None) -> tuple[list[Subject], list[str]]:
    """Those that can run here, and why the others cannot."""
    names = wanted or ["calloutd", "c-packed", "c-plain", "python-netfilterqueue"]
    reason = build.install_python_package() if "python-netfilterqueue" in names else None
    known: list[Subject] = [
        Calloutd(),
        CProgram("c-packed"),
        # Not among those that are measured unasked: it receives as calloutd does.
        CProgram("c-bites", "c-packed", "--bite", "64"),
        CProgram("c-plain"),
        PythonNetfilterQueue(reason),
    ]
    unknown = set(names) - {subject.name for subject in known}
    if unknown:
        sys.exit(f"no such subject: {', '.join(sorted(unknown))}")
    chosen, skipped = [], []
    for subject in known:
        if subject.name in names:
            why = subject.missing()
            if why is None:
                chosen.append(subject)
            else:
                skipped.append(f"{subject.name} was skipped: {why}")
    return chosen, skipped


def end(number: int, _frame: object) -> None:
    """Unwinds, so that every `with` cleans up."""
    sys.exit(f"bench: ended by {signal.Signals(number).name}")


def run(
    options: argparse.Namespace, subjects: list[Subject]
) -> tuple[list[report.Entry], list[str]]:
    os.setpriority(os.PRIO_PROCESS, 0, options.priority)
    os.sched_setaffinity(0, {0})
    namespace.enter()
    kind = namespace.make_device()
    print(f"kernel {platform.release()}, flood to a device of kind {kind}", flush=True)
    effort = Effort(options.rounds, options.slices, options.slice_seconds, options.steady_seconds)
    entries: list[report.Entry] = []
    with namespace.Children(options.priority) as children:
        bench = Workbench(children, subjects, effort, options.apart)
        for name in options.case or DEFAULT_CASES:
            start = time.monotonic()
            entries += CASES[name](bench)
            print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    report.write_json(build.OUTPUT / "rounds.json", bench.raw)
    return entries, bench.warnings


def main() -> int:
    options = parse_options()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, end)
    if os.geteuid() != 0:
        sys.exit("bench: root is needed, for a network namespace and queues")
    build.compile_programs()
    subjects, problems = choose_subjects(options.subject)
    for problem in problems:
        print(problem, flush=True)
    signal.alarm(options.time_limit)
    entries, warnings = run(options, subjects)
    report.write_entries(build.OUTPUT / "results.json", entries)
    print(report.table(entries))
    problems += warnings + report.missed(entries)
    for problem in problems:
        print(f"NOT SHOWN: {problem}")
    return 1 if options.check and problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        sys.exit(f"bench: {error}")
