# SPDX-License-Identifier: Apache-2.0
"""Policy files with errors: every error is listed with its place, and nothing is touched."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from daemon import CALLOUTD, EXAMPLES, TAG, every, policy, rules_of
from nfqueue import queue_status

BROKEN = """\
mark:   { mask: 0x00f00f00 }
queues: { first: 31000, cuont: 2, on-failure: maybe }
callouts:
  - { name: tags, type: tagg }
  - { name: slow, type: delay, for: 200 }
filters:
  - name: first
    layer: outbound-transport-v5
    conditions:
      - { field: ip-remote-prot, match: equal, value: 53 }
      - { field: ip-protocol, match: equal, value: 999 }
    action: callout-unknown
    callout: nobody
  - { name: second, layer: outbound-transport-v4, sublayer: absent, action: permit }
unknown: 1
"""
# Line, column and something that the message must say, for each error of the above.
ERRORS = [
    (1, 17, "0x00f00f00"),
    (2, 25, "cuont"),
    (2, 47, "maybe"),
    (4, 25, "tagg"),
    (5, 37, "200"),
    (8, 12, "outbound-transport-v5"),
    (10, 18, "ip-remote-prot"),
    (11, 52, "999"),
    (14, 61, "absent"),
    (15, 1, "unknown"),
]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A policy file with many errors."""
    file = tmp_path / "broken.yaml"
    file.write_text(BROKEN)
    return file


def check_lines(lines: list[str], file: Path) -> None:
    """Every error is there, at its place."""
    for line, column, word in ERRORS:
        wanted = f"{file}:{line}:{column}: error: "
        assert any(each.startswith(wanted) and word in each for each in lines), (wanted, lines)


def test_check_lists_all_errors_with_line_and_column(net, broken: Path) -> None:
    done = net.host.run(CALLOUTD, "check", "--config", str(broken), check=False)
    assert done.returncode == 1
    check_lines(done.stdout.splitlines(), broken)


def test_check_json_gives_one_object_an_error(net, broken: Path) -> None:
    done = net.host.run(CALLOUTD, "check", "--json", "--config", str(broken), check=False)
    assert done.returncode == 1
    problems = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(each) == {"file", "line", "column", "message"} for each in problems)
    check_lines(
        [f"{p['file']}:{p['line']}:{p['column']}: error: {p['message']}" for p in problems],
        broken,
    )


def test_run_lists_all_errors_and_touches_nothing(net, prepare) -> None:
    daemon = prepare(BROKEN)
    daemon.spawn()
    assert daemon.wait() == 1
    check_lines(daemon.log.splitlines(), daemon.file)
    assert rules_of(net.host) == {"chains": {}, "rules": 0}
    assert queue_status(net.host) == {}
    assert not daemon.socket.exists()


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("filters: [", r":\d+:\d+: error: "),
        ("\t- x", r":1:\d+: error: "),
        ("- a list", r":1:1: error: found .*expected"),
        ("queues: 3", r":1:9: error: found .*expected"),
        ("queues: { count: 0 }", r":1:18: error: .*expected"),
        ("queues: { count: 1, count: 2 }", r":1:21: error: "),
        ("queues: { first: 65535, count: 2 }", r"error: .*65535"),
        ("metrics: { listen: everywhere }", r":1:20: error: .*expected"),
        ("lifecycle: { sweep-after: -2s }", r":1:27: error: .*expected"),
        ("rules: { table: 0; drop }", r":1:\d+: error: "),
        ("interfaces: eth0", r":1:13: error: found .*expected a list of interfaces"),
        ("filters: [ { name: a, layer: stream-v4, action: permit } ]", r":1:30: error: "),
        ("filters: &a [ *a ]", r":1:\d+: error: "),
        ("\x00\x01\x02", r":1:\d+: error: "),
    ],
)
def test_each_error_has_a_place(net, tmp_path: Path, text: str, pattern: str) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(text + "\n")
    done = net.host.run(CALLOUTD, "check", "--config", str(file), check=False)
    assert done.returncode == 1, done.stdout
    assert re.search(pattern, done.stdout), done.stdout


@pytest.mark.parametrize("kind", ["missing", "directory", "not UTF-8", "huge"])
def test_an_unreadable_file_is_an_error_with_its_name(prepare, kind: str) -> None:
    daemon = prepare("")
    daemon.file.unlink()
    if kind == "directory":
        daemon.file.mkdir()
    elif kind == "not UTF-8":
        daemon.file.write_bytes(b"filters: \xff\xfe\n")
    elif kind == "huge":
        daemon.file.write_bytes(b"# " + b"x" * (64 << 20))
    daemon.spawn()
    if kind == "huge":
        # Long is not wrong: whether it starts or not, it must not crash.
        daemon.close()
        return
    assert daemon.wait() == 1
    assert str(daemon.file) in daemon.log


def test_usage_errors_exit_with_64(net) -> None:
    for arguments in (["walk"], ["run", "--colour"], ["run", "--log-level", "loud"]):
        assert net.host.run(CALLOUTD, *arguments, check=False).returncode == 64


def test_every_example_is_fine(net) -> None:
    for example in sorted(EXAMPLES.glob("*.yaml")):
        done = net.host.run(CALLOUTD, "check", "--config", str(example), check=False)
        assert done.returncode == 0, done.stdout


def test_the_printed_schema_is_a_policy_that_is_right(net, tmp_path: Path) -> None:
    file = tmp_path / "schema.yaml"
    file.write_text(net.host.out(CALLOUTD, "check", "--schema"))
    net.host.run(CALLOUTD, "check", "--config", str(file))


def test_rules_print_diff_apply_and_remove(net, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy(every("inbound-transport-v4", "callout-inspection", "numbered"), TAG))
    option = ["--config", str(file)]
    assert "31000" in net.host.out(CALLOUTD, "rules", "print", *option)
    diff = net.host.run(CALLOUTD, "rules", "diff", *option, check=False)
    assert diff.returncode == 1
    assert diff.stdout.startswith("+ ")
    net.host.run(CALLOUTD, "rules", "apply", *option)
    assert rules_of(net.host)["rules"] == 1
    assert net.host.out(CALLOUTD, "rules", "diff", *option) == ""
    net.host.run(CALLOUTD, "rules", "remove", *option)
    assert rules_of(net.host) == {"chains": {}, "rules": 0}
    net.host.run(CALLOUTD, "rules", "remove", *option)
