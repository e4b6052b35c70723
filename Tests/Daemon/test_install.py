# SPDX-License-Identifier: Apache-2.0
"""`make install` into a folder of its own, and `make uninstall` again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from daemon import BINARIES, ROOT


def make(target: str, place: Path) -> None:
    """Runs a target of the Makefile without building what is built."""
    done = subprocess.run(
        ["make", "-C", str(ROOT), "-o", "release", target, f"DESTDIR={place}", "PREFIX=/usr"]
        + [f"RELEASE={BINARIES}"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_both_units_are_installed_and_taken_away(tmp_path: Path) -> None:
    place = tmp_path / "root"
    make("install", place)
    units = place / "usr/lib/systemd/system"
    assert {unit.name for unit in units.iterdir()} == {"calloutd.service", "calloutd-boot.service"}
    boot = (units / "calloutd-boot.service").read_text().splitlines()
    assert "ExecStart=/usr/sbin/calloutd rules apply --boot" in boot
    order = next(line for line in boot if line.startswith("Before="))
    assert {"network-pre.target", "calloutd.service"} <= set(order[7:].split())
    assert "Wants=network-pre.target" in boot
    main = (units / "calloutd.service").read_text().splitlines()
    assert any(line.startswith("After=") and "calloutd-boot.service" in line for line in main)
    assert not any("@" in line for line in boot if not line.startswith("SystemCallFilter="))
    make("uninstall", place)
    assert not place.exists() or not any(place.rglob("*"))


def test_the_boot_unit_is_right(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    place = tmp_path / "root"
    make("install", place)
    unit = place / "usr/lib/systemd/system/calloutd-boot.service"
    text = unit.read_text().replace("/usr/sbin/calloutd", "/bin/true")
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "calloutd-boot" not in done.stderr
