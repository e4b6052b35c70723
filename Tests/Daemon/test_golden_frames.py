# SPDX-License-Identifier: Apache-2.0
"""The golden frames of the unit tests are what scapy builds and tshark reads."""

from __future__ import annotations

import shutil

import golden_frames
import pytest


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
def test_golden_frames_are_what_scapy_builds_and_tshark_reads() -> None:
    pytest.importorskip("scapy")
    assert golden_frames.render(golden_frames.decode(golden_frames.frames())) == (
        golden_frames.GOLDEN.read_text()
    )
