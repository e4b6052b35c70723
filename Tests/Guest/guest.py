#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the integration tests on a Debian kernel, in an emulated machine without a network.

The machine's root is made of this machine's own files: those of the Debian packages that the tests
use, our built programs, and the libraries that these name. Its console is our output; the last line
sums up. Exits with 77 where the machine cannot be had.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".build/guest"
BUNDLE = ROOT / ".build/debug/calloutPackageTests.xctest"
NAMES = ("release/calloutd", "release/calloutctl", "debug/frame-holder")
PROGRAMS = [ROOT / ".build" / name for name in NAMES]
FOLDERS = [ROOT / "Tests", ROOT / "rules", ROOT / "Sources/Examples"]
NEEDED = ("apt-get", "dpkg-query", "cpio", "depmod", "setpriv", "qemu-system-x86_64")
# What no test opens.
LEFT_OUT = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/include/")
SUM = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")
# A machine takes one processor, so each of two runs a part of the tests; see run-all.py.
PARTS = ("queues", "others")
EMULATOR = [
    *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
    # One thread for both processors: with two, one can run code that the other has just patched, as
    # the kernel does whenever a BPF program is attached.
    *("-accel", "tcg,thread=single", "-cpu", "qemu64", "-smp", "2", "-m", "3072"),
    *("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"),
]
# A kernel that panics restarts at once, which is the end: -no-reboot.
BOOT = f"console=ttyS0 quiet panic=-1 CALLOUT_ROOT={ROOT}"


class Unavailable(Exception):
    """Something that is not ours is missing."""


def output(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


# The kernel.


def newest_package(kernel: str) -> str:
    """The name of the newest package of a series such as 6.12."""
    shape = re.compile(rf"linux-image-{re.escape(kernel)}\.[\d.]+(-\d+)?(\+deb\d+)?-cloud-amd64")
    names = output("apt-cache", "pkgnames", f"linux-image-{kernel}.").split()
    names = [name for name in names if shape.fullmatch(name)]
    if not names:
        raise Unavailable(f"apt knows no linux-image-{kernel}.*-cloud-amd64")
    return max(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def fetch_kernel(kernel: str) -> Path:
    """A folder with `boot` and `usr/lib/modules` of a Debian kernel, fetched once."""
    place = CACHE / f"linux-{kernel}"
    if place.exists():
        return place
    # A list that is old names packages that are gone.
    subprocess.run(["apt-get", "update", "--quiet=2"], check=False, capture_output=True)
    package = newest_package(kernel)
    print(f"guest: fetching {package}", flush=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        fetched = subprocess.run(
            ["apt-get", "download", "--quiet=2", package],
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
        )
        archives = list(folder.glob("*.deb"))
        if fetched.returncode != 0 or not archives:
            raise Unavailable(f"{package}: {fetched.stderr.strip()}")
        tree = folder / "tree"
        output("dpkg-deb", "--extract", str(archives[0]), str(tree))
        # As on the machine whose files join these: /lib is a link.
        (tree / "usr").mkdir(exist_ok=True)
        (tree / "lib").rename(tree / "usr/lib")
        (tree / "lib").symlink_to("usr/lib")
        version = next((tree / "lib/modules").iterdir()).name
        output("depmod", "--basedir", str(tree), version)
        tree.rename(place)
    return place


# The root of the machine.


def installed_packages(wanted: list[str]) -> list[str]:
    """Debian's essential packages, those wanted, and all that they depend on."""
    shape = "${db:Status-Abbrev} ${Essential} ${Package}\n"
    rows = [row.split() for row in output("dpkg-query", "--show", "-f", shape).splitlines()]
    rows = [row for row in rows if row[0] == "ii"]
    essential = [package for _, is_essential, package in rows if is_essential == "yes"]
    others = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    options = ["--recurse", "--installed", *(f"--no-{kind}" for kind in others)]
    text = output("apt-cache", "depends", *options, *essential, *wanted)
    names = {line.split(":")[0] for line in text.splitlines() if line[0] not in " |<"}
    return sorted(names.intersection(package for _, _, package in rows))


def libraries(programs: list[Path]) -> list[str]:
    """The shared libraries that programs name."""
    return re.findall(r"(/\S+) \(0x", output("ldd", *map(str, programs)))


class Listing:
    """Files of this machine, with the folders and links on the way to them."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()

    def add(self, path: Path) -> None:
        real = Path("/")
        for part in path.parts[1:]:
            real /= part
            if real.is_symlink() and real not in self.paths:
                self.paths.add(real)
                self.add(Path(os.path.normpath(real.parent / os.readlink(real))))
            self.paths.add(real)
            real = real.resolve()

    def add_alternatives(self) -> None:
        """Adds the names under which Debian offers one of several programs."""
        for folder in (Path("/usr/bin"), Path("/usr/sbin")):
            for link in folder.iterdir():
                if link.is_symlink() and link.resolve() in self.paths:
                    self.add(link)

    def add_compiled(self) -> None:
        """Adds what Python has compiled: compiling anew takes long where all is emulated."""
        for path in [path for path in self.paths if path.suffix == ".py"]:
            compiled = Path(cache_from_source(str(path)))
            if compiled.exists():
                self.add(compiled)


def host_files(packages: list[str]) -> list[Path]:
    listing = Listing()
    for line in output("dpkg", "--listfiles", *packages).splitlines():
        if line.startswith("/") and not line.startswith(LEFT_OUT) and os.path.lexists(line):
            listing.add(Path(line))
    for path in [BUNDLE, *PROGRAMS, *map(Path, libraries([BUNDLE, *PROGRAMS]))]:
        listing.add(path)
    for folder in FOLDERS:
        for path in folder.rglob("*"):
            listing.add(path)
    for name in ("passwd", "group", "nsswitch.conf", "hosts", "protocols", "services"):
        listing.add(Path("/etc") / name)
    listing.add_alternatives()
    listing.add_compiled()
    return sorted(path for path in listing.paths if os.path.lexists(path))


def pack(archive: Path, folder: Path, paths: list[Path]) -> None:
    """Adds files to an archive as the kernel reads it at its start."""
    names = "".join(f"{path.relative_to(folder)}\0" for path in paths)
    with archive.open("ab") as file:
        subprocess.run(
            ["cpio", "--create", "--null", "--format=newc", "--quiet", f"--directory={folder}"],
            input=names.encode(),
            stdout=file,
            check=True,
        )


def build_root(archive: Path, kernel: Path, packages: list[str]) -> None:
    pack(archive, Path("/"), host_files(installed_packages(packages)))
    modules = kernel / "usr/lib/modules"
    pack(archive, kernel, [modules, *sorted(modules.rglob("*"))])
    here = Path(__file__).parent
    pack(archive, here, [here / "init"])


# The run.


def run_machines(kernel: Path, archive: Path, limit: int) -> list[int] | None:
    """Runs the parts at once, and shows one console after the other; gives the sum of their counts,
    or None if a machine ended before its tests did.
    """
    lines: list[str] = []
    sums: list[re.Match[str] | None] = [None, None]

    def run_other() -> None:
        sums[1] = run_machine(kernel, archive, limit, PARTS[1], lines.append)

    other = threading.Thread(target=run_other, daemon=True)
    other.start()
    sums[0] = run_machine(kernel, archive, limit, PARTS[0], lambda line: print(line, flush=True))
    other.join()
    print(*lines, sep="\n", flush=True)
    if None in sums:
        return None
    return [sum(counts) for counts in zip(*(map(int, one.groups()) for one in sums if one))]


def run_machine(
    kernel: Path, archive: Path, limit: int, part: str, show: Callable[[str], object]
) -> re.Match[str] | None:
    """Shows the machine's console; gives the line that sums up."""
    image = next((kernel / "boot").glob("vmlinuz-*"))
    words = f"{BOOT} CALLOUT_PART={part}"
    machine = subprocess.Popen(
        [*EMULATOR, "-kernel", str(image), "-initrd", str(archive), "-append", words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    timer = threading.Timer(limit, machine.kill)
    timer.start()
    summary = None
    try:
        for line in machine.stdout:
            show(line.rstrip())
            summary = SUM.fullmatch(line.rstrip()) or summary
    finally:
        timer.cancel()
        machine.kill()
        machine.wait()
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--kernel", default="6.12", help="a series: 6.12 (default) or 6.1")
    parser.add_argument("--packages", nargs="*", default=[], help="Debian packages with programs")
    parser.add_argument("--limit", type=int, default=1500, help="seconds")
    options = parser.parse_args()
    # Ended in order, so that nothing stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        return run(options)
    except Unavailable as reason:
        print(f"guest-test: skipped: {reason}")
        return 77


def run(options: argparse.Namespace) -> int:
    for program in NEEDED:
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed")
    kernel = fetch_kernel(options.kernel)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        archive = Path(folder) / "root.cpio"
        begin = time.monotonic()
        build_root(archive, kernel, options.packages)
        print(
            f"guest: Linux {options.kernel}, {archive.stat().st_size >> 20} MB of files,"
            f" packed in {time.monotonic() - begin:.0f} s",
            flush=True,
        )
        begin = time.monotonic()
        counts = run_machines(kernel, archive, options.limit)
        seconds = time.monotonic() - begin
    result = (
        "{} passed, {} failed, {} skipped".format(*counts)
        if counts
        else "FAILED: a machine ended before its tests did"
    )
    print(f"guest-test: Linux {options.kernel}: {result} ({seconds:.0f} s)", flush=True)
    return 0 if counts and counts[1] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
