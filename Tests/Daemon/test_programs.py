# SPDX-License-Identifier: Apache-2.0
"""Filters that name programs: ale-app-id at the authorization layers, from a policy file."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from daemon import CALLOUTD, policy
from netns import wait_for

PYTHON = os.path.realpath(sys.executable)
PORT = 7080


def program(match: str, value: str, action: str = "block") -> str:
    condition = "{ field: ale-app-id, match: %s, value: %s }" % (match, value)
    return (
        "- { name: program, layer: ale-auth-connect-v4, conditions: [ %s ], action: %s }\n"
        % (condition, action)
    )


def test_a_program_is_blocked_by_its_path(start, net, sender, sink) -> None:
    daemon = start(policy(program("equal", PYTHON)))
    there = sink(PORT)
    sender(PORT).send(3)
    wait_for(lambda: daemon.queue()["blocked"] == 3, "three blocked datagrams")
    address = f"UDP:{net.server_address}:{PORT}"
    # It keeps the socket until it is found: what is closed at once is nobody's.
    net.host.run("socat", "-t", "0.5", "EXEC:'echo abc'", address)
    there.expect(1)
    assert daemon.queue()["blocked"] == 3


def test_explain_takes_a_program(start) -> None:
    daemon = start(policy(program("prefix", "/usr/lib/")))
    ends = ["explain", "--json", "--from", "10.0.0.1:4000", "--to", "10.0.0.2:80"]

    def verdict(*arguments: str) -> str:
        return json.loads(daemon.ctl(*ends, *arguments).stdout)["verdict"]

    assert verdict("--app-id", "/usr/lib/x") == "block"
    assert verdict("--app-id", "/usr/libx") == "permit"
    assert verdict() == "permit"


@pytest.mark.parametrize(
    ("match", "value", "expected"),
    [
        ("equal", "curl", "expected a program's path such as /usr/bin/curl"),
        ("equal", "7", "expected a program's path such as /usr/bin/curl"),
        ("masked", "/bin/sh", "expected another: ale-app-id is a path"),
        ("range", "/bin/sh", "expected a list of two: [first, last]"),
        ("not-equal", "[ /bin/a, /bin/b ]", "expected one value"),
    ],
)
def test_what_is_no_path_is_refused_with_its_place(tmp_path, match, value, expected) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("filters:\n" + program(match, value))
    done = subprocess.run(
        [CALLOUTD, "check", "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "policy.yaml:2:" in done.stderr + done.stdout
    assert expected in done.stderr + done.stdout
