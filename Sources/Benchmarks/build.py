# SPDX-License-Identifier: Apache-2.0
"""Compiles the C programs and installs the Python package, all below .build/bench."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
ROOT = SOURCES.parent.parent
OUTPUT = ROOT / ".build" / "bench"
VENV = OUTPUT / "venv"
RELEASE = ROOT / ".build" / "release"

PROGRAMS: dict[str, list[str]] = {
    "flood": ["flood.c"],
    "c-plain": ["c-plain.c", "queue-common.c", "-lmnl"],
    "c-packed": ["c-packed.c", "queue-common.c", "-lmnl"],
    "c-frames": ["c-frames.c", "../CLinux/Devices.c", "../CLinux/CLinux.c", "-I../CLinux/include", "-lbpf"],
    "malloc-count.so": ["malloc-count.c", "-shared", "-fPIC"],
}


def compiler() -> str:
    for name in (os.environ.get("CC"), "clang", "cc"):
        if name and shutil.which(name):
            return name
    raise RuntimeError("no C compiler: clang or cc is needed")


def compile_programs() -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    flags = ["-O2", "-g", "-std=gnu11", "-Wall", "-Wextra"]
    for name, words in PROGRAMS.items():
        line = [compiler(), *flags, "-o", str(OUTPUT / name), *words]
        done = subprocess.run(
            line, check=False, cwd=SOURCES, capture_output=True, text=True, timeout=120
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(line)}\n{done.stderr}(libmnl-dev is needed)")
        sys.stderr.write(done.stderr)


def _has_package() -> bool:
    python = VENV / "bin/python"
    if not python.exists():
        return False
    words = [str(python), "-c", "import netfilterqueue"]
    return subprocess.run(words, check=False, capture_output=True, timeout=60).returncode == 0


def install_python_package() -> str | None:
    """Makes the virtual environment. Returns the reason when that cannot be done."""
    if _has_package():
        return None
    steps = [
        ["/usr/bin/python3", "-m", "venv", str(VENV)],
        [str(VENV / "bin/pip"), "install", "--quiet", "NetfilterQueue"],
    ]
    try:
        for words in steps:
            subprocess.run(words, check=True, capture_output=True, text=True, timeout=180)
    except (OSError, subprocess.SubprocessError) as error:
        return (
            "PyPI's NetfilterQueue could not be built (needs python3-venv python3-dev "
            f"libnetfilter-queue-dev): {error}"
        )
    return None
