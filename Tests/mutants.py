#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks the sources as Tests/rows.md says, one line at a time: the test of each row must fail.

Works on a copy of the tree in .build/mutants, whose build is kept. The test is run on the sound
sources first, and must pass there. A mutant that does not compile is an error, not a success.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / ".build/mutants/tree"
REPORT = ROOT / ".build/mutants/report.xml"
COLUMNS = ["row", "test", "file", "old line", "new line"]
BUILD_SECONDS, TEST_SECONDS = 1200, 120


class MutantError(Exception):
    """What keeps a mutant from being judged."""


@dataclass
class Mutant:
    """One line of the table."""

    row: str
    test: str
    path: Path
    old: str
    new: str

    @property
    def is_python(self) -> bool:
        return "::" in self.test or self.test.endswith(".py")

    def apply(self) -> str:
        """Changes the copy and returns what the file held."""
        path = COPY / self.path
        if not path.is_file():
            raise MutantError(f"there is no file {self.path}")
        text = path.read_text()
        lines = text.splitlines(keepends=True)
        places = [at for at, line in enumerate(lines) if line.strip() == self.old]
        if not places:
            places = [at for at, line in enumerate(lines) if self.old in line]
        if len(places) != 1:
            raise MutantError(f"{len(places)} lines of {self.path} are or hold: {self.old}")
        lines[places[0]] = lines[places[0]].replace(self.old, self.new, 1)
        path.write_text("".join(lines))
        return text


def cells(line: str) -> list[str]:
    """The cells of a table's line; a bar inside one is written as \\|."""
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def code(cell: str) -> str:
    """What stands between backticks; two of them when the code has some itself."""
    for fence in ("``", "`"):
        if cell.startswith(fence) and cell.endswith(fence) and len(cell) >= 2 * len(fence):
            return cell[len(fence) : -len(fence)].strip()
    if cell:
        raise MutantError(f"not in backticks: {cell}")
    return ""


def read_table(path: Path) -> list[Mutant]:
    mutants = []
    in_table = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.startswith("|"):
            in_table = False
            continue
        row = cells(line)
        if not in_table:
            if row != COLUMNS:
                continue
            in_table = True
        elif not set("".join(row)) <= set("-:"):
            try:
                name, test, file, old, new = row[0], *map(code, row[1:])
                if not (name and test and file and old):
                    raise MutantError("only the new line may be empty")
            except (MutantError, ValueError) as error:
                sys.exit(f"{path}:{number}: {error}; expected {' | '.join(COLUMNS)}")
            mutants.append(Mutant(name, test, Path(file), old, new))
    return mutants


def update_copy() -> None:
    """Makes the copy equal to the tree, touching only what differs."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    if (ROOT / "Package.resolved").exists():
        names.add("Package.resolved")
    COPY.mkdir(parents=True, exist_ok=True)
    for old in COPY.rglob("*"):
        relative = old.relative_to(COPY)
        if relative.parts[0] != ".build" and old.is_file() and str(relative) not in names:
            old.unlink()
    for name in names:
        source, target = ROOT / name, COPY / name
        if not target.exists() or source.read_bytes() != target.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def run(words: list[str], seconds: int, log: Path) -> int | None:
    """The exit status, None after the time is over."""
    environment = {name: value for name, value in os.environ.items() if name != "CALLOUT_NETNS"}
    environment["CALLOUT_BIN"] = str(COPY / ".build/debug")
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=COPY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def build() -> None:
    log = ROOT / ".build/mutants/build.log"
    if run(["swift", "build", "--build-tests"], BUILD_SECONDS, log) != 0:
        errors = [line for line in log.read_text().splitlines() if "error:" in line]
        raise MutantError(f"does not build: {errors[0] if errors else log}")


def passes(mutant: Mutant) -> bool:
    """Whether the mutant's test passes."""
    if mutant.is_python:
        words = ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", mutant.test]
        words.append(f"--junitxml={REPORT}")
    else:
        words = ["swift", "test", "--skip-build", "--disable-xctest", "--no-parallel"]
        words += ["--xunit-output", str(REPORT)]
        # SwiftPM's name of a test goes on with the place where it stands.
        words += ["--filter", rf"^{re.escape(mutant.test)}(\(.*\))?(/|$)"]
        if os.geteuid() == 0:
            words.insert(0, str(COPY / "Tests/run-in-namespace.sh"))
    REPORT.unlink(missing_ok=True)
    status = run(words, TEST_SECONDS, ROOT / ".build/mutants/test.log")
    if status != 0:
        return False
    cases = list(ElementTree.parse(REPORT).iter("testcase")) if REPORT.exists() else []
    if not any(case.find("skipped") is None for case in cases):
        raise MutantError(f"no such test ran: {mutant.test}")
    return True


def judge(mutant: Mutant) -> bool:
    """Whether the mutant is noticed."""
    original = mutant.apply()
    try:
        build()
        return not passes(mutant)
    finally:
        (COPY / mutant.path).write_text(original)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("rows", nargs="*", help="only these, as F3,F8")
    options = parser.parse_args()
    mutants = read_table(ROOT / "Tests/rows.md")
    if wanted := {row for word in options.rows for row in word.split(",") if row}:
        if unknown := wanted - {mutant.row for mutant in mutants}:
            sys.exit(f"mutants: Tests/rows.md has no {', '.join(sorted(unknown))}")
        mutants = [mutant for mutant in mutants if mutant.row in wanted]
    if not mutants:
        sys.exit("mutants: Tests/rows.md has no rows")
    update_copy()
    print("building the sound sources", flush=True)
    try:
        build()
    except MutantError as error:
        sys.exit(f"mutants: {error}")
    count = {"killed": 0, "SURVIVED": 0, "ERROR": 0}
    sound: dict[str, bool] = {}
    for mutant in mutants:
        start = time.monotonic()
        note = str(mutant.path)
        try:
            if mutant.test not in sound:
                sound[mutant.test] = passes(mutant)
            if not sound[mutant.test]:
                raise MutantError(f"fails without any mutation: {mutant.test}")
            outcome = "killed" if judge(mutant) else "SURVIVED"
            if outcome == "SURVIVED":
                note = f"{mutant.path}: {mutant.new} is not noticed by {mutant.test}"
        except MutantError as error:
            outcome, note = "ERROR", str(error)
        count[outcome] += 1
        seconds = time.monotonic() - start
        print(f"{mutant.row:<9} {outcome:<9} {seconds:4.0f} s  {note}", flush=True)
    print(f"{count['killed']} killed, {count['SURVIVED']} survived, {count['ERROR']} errors")
    return 1 if count["SURVIVED"] or count["ERROR"] else 0


if __name__ == "__main__":
    sys.exit(main())
