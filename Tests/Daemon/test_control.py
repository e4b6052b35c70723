# SPDX-License-Identifier: Apache-2.0
"""The control socket: clients that misbehave harm nobody, answers have their documented keys."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import CALLOUTCTL, TAG, Daemon, every, policy
from netns import wait_for

PORT = 7030
FILTERS = every("outbound-transport-v4", "callout-inspection", "numbered")
BOTH = FILTERS + every("outbound-ippacket-v4", "callout-inspection", "numbered")

STATUS_KEYS = {
    "state", "version", "healthy", "backend", "source", "mark-mask", "epoch", "packets",
    "rule-packets", "fail-open-passes", "verdicts", "associated", "ended", "live", "ended-by-reason", "handles-refused",
    "stale-handles", "foreign-flows", "copies", "events-lost", "notify-failures", "warnings",
    "policy", "frames", "ports", "vetoes",
}  # fmt: skip
QUEUE_KEYS = {
    "queue", "port-id", "copy-range", "max-length", "packets", "bytes", "verdicts", "permitted",
    "blocked", "absorbed", "repeated", "requeued", "pended", "pended-now", "pend-expired",
    "failure-policy-applied", "malformed", "rewritten", "rewrites-refused", "vetoes", "verdict-messages",
    "verdict-errors", "verdicts-unsent", "refusals", "ids-issued", "id-gaps", "flushed", "waiting",
    "queue-dropped", "user-dropped", "socket-drops", "rule-packets", "fail-open-passes",
    "receive-buffer-bytes", "associated", "live", "bridged-frames",
}  # fmt: skip
KEYS = {
    "status": STATUS_KEYS,
    "queues": QUEUE_KEYS,
    "tags": {"tag", "name", "on-copy", "associated", "live", "ended"},
    "filters": {
        "name", "layer", "sublayer", "weight", "conditions", "action", "callout",
        "flags", "hits", "kernel-hits",
    },
    "callouts": {"name", "type", "tag", "filters", "packets", "bytes", "refused"},
    "reload": {"filters", "callouts", "notes"},
}  # fmt: skip
EVENT_KEYS = {
    "time", "event", "tag", "tag-name", "context", "handle", "packet-id", "queue", "layer",
    "certainty",
}  # fmt: skip


def dial(daemon: Daemon) -> socket.socket:
    """A connection to the control socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(daemon.socket))
    connection.settimeout(15)
    return connection


def exchange(daemon: Daemon, request: bytes, half_close: bool = False) -> bytes:
    """What the daemon answers to some bytes, to the end of the connection."""
    with dial(daemon) as connection:
        try:
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


@pytest.fixture
def daemon(start: Callable[..., Daemon]) -> Daemon:
    """A daemon that tags what the host sends."""
    return start(policy(FILTERS, TAG))


@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        (b"garbage\n", "malformed-request"),
        (b"\x00\xff\xfe\x80\n", "malformed-request"),
        (b"[]\n", "malformed-request"),
        (b"{}\n", "malformed-request"),
        (b"\n", "malformed-request"),
        (b'{"command": 7}\n', "malformed-request"),
        (b'{"command": "status"', "malformed-request"),
        (b'{"command": "dance"}\n', "unknown-command"),
        (b'{"command": "events", "count": -1}\n', "malformed-request"),
        (b'{"command": "events", "tag": "nobody"}\n', "unknown-tag"),
        (b"x" * 200_000 + b"\n", "request-too-long"),
        (b"[" * 140_000, "request-too-long"),
        (b"[" * 60_000 + b"\n", "malformed-request"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_request_gets_a_typed_error(daemon, request_line: bytes, code: str) -> None:
    answer = json.loads(exchange(daemon, request_line, half_close=True))
    assert answer["error"]["code"] == code, answer
    assert answer["error"]["message"]
    assert daemon.status()["state"] == "running"


def test_half_a_line_then_close_is_harmless(daemon) -> None:
    for _ in range(200):
        with dial(daemon) as connection:
            connection.sendall(b'{"command": "sta')
    wait_for(lambda: daemon.status().get("state") == "running", "room for another connection")


def test_who_hangs_up_without_reading_is_harmless(daemon) -> None:
    for command in KEYS:
        for _ in range(10):
            with dial(daemon) as connection:
                connection.sendall(json.dumps({"command": command}).encode() + b"\n")
    wait_for(lambda: daemon.status().get("state") == "running", "room for another connection")


def test_a_hundred_connections_are_answered_or_turned_away(daemon) -> None:
    connections = [dial(daemon) for _ in range(100)]
    answers = []
    try:
        for connection in reversed(connections):
            try:
                connection.sendall(b'{"command": "status"}\n')
                answers.append(json.loads(connection.makefile().readline()))
            finally:
                connection.close()
    finally:
        for connection in connections:
            connection.close()
    running = sum("state" in answer for answer in answers)
    busy = sum(answer.get("error", {}).get("code") == "busy" for answer in answers)
    assert running + busy == 100
    assert running >= 32
    wait_for(lambda: daemon.status().get("state") == "running", "room for another connection")
    descriptors = Path(f"/proc/{daemon.pid}/fd")
    wait_for(lambda: len(list(descriptors.iterdir())) < 60, "their descriptors are closed")


def measure(sender, sink, port: int, count: int = 200) -> tuple[float, int]:
    """The median time from send to arrival, and how many were lost."""
    receiver, source = sink(port), sender(port)
    receiver.socket.setblocking(True)
    receiver.socket.settimeout(1)
    times, lost = [], 0
    for _ in range(count):
        begin = time.perf_counter()
        source.send()
        try:
            receiver.socket.recv(64)
            times.append(time.perf_counter() - begin)
        except TimeoutError:
            lost += 1
    return sorted(times)[len(times) // 2], lost


def test_a_slow_reader_of_events_never_harms_the_packet_path(start, sink, sender, flood) -> None:
    daemon = start(policy(BOTH, TAG, "queues: { on-failure: block, max-length: 65536 }"))
    receiver = sink(PORT)
    first = flood(PORT, rate=15_000, seconds=2)
    wait_for(lambda: receiver.count() > 100, "the flood is under way")
    before, lost = measure(sender, sink, PORT + 1)
    assert lost == 0
    sent = first.sent()
    receiver.expect(sent)
    with dial(daemon) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b'{"command": "events"}\n')
        memory = daemon.resident_kilobytes()
        second = flood(PORT, rate=15_000, seconds=8)
        wait_for(lambda: receiver.count() > sent, "the second flood is under way")
        after, lost = measure(sender, sink, PORT + 2, 400)
        assert lost == 0
        receiver.expect(sent + second.sent(), within=20)
        status = daemon.status()
        assert status["healthy"]
        queue = daemon.queue()
        assert queue["queue-dropped"] == queue["user-dropped"] == queue["id-gaps"] == 0
        assert daemon.resident_kilobytes() - memory < 40_000, "events pile up without bound"
        # The terminal events of every context are out, so contexts have ended.
        wait_for(lambda: daemon.status()["live"] == 0, "no context stays")
    assert after < max(10 * before, 0.005), (before, after)


def test_events_stream_is_one_object_a_line(daemon, sender, background) -> None:
    out = daemon.directory / "events"
    with out.open("w") as file:
        client = background(
            daemon.space, CALLOUTCTL, "events", "--json", "--count", "6", "--tag", "numbered",
            "--socket", str(daemon.socket), stdout=file,
        )  # fmt: skip
    source = sender(PORT)

    def ended() -> bool:
        source.send()
        return client.poll() is not None

    wait_for(ended, "six events")
    assert client.returncode == 0
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(events) == 6
    for event in events:
        assert set(event) >= EVENT_KEYS
        assert event["tag-name"] == "numbered"
        assert event["layer"] == "outbound-transport-v4"
        assert event["queue"] == 31000
    assert {event["event"] for event in events} == {
        "entered_netio", "exit_netio", "send_complete", "context_removed",
    }  # fmt: skip
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


@pytest.mark.parametrize("command", list(KEYS))
def test_json_of_each_command_has_the_documented_keys(daemon, sender, command: str) -> None:
    sender(PORT).send(3)
    wait_for(lambda: daemon.status()["packets"] == 3, "three packets")
    done = daemon.ctl(command, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 1
    assert set(records[0]) == KEYS[command]
    text = daemon.ctl(command)
    assert text.returncode == 0 and text.stdout.strip()


def test_exit_codes_of_calloutctl(daemon, net) -> None:
    assert daemon.ctl("status").returncode == 0
    daemon.write("nonsense: 1")
    assert daemon.ctl("reload").returncode == 1
    assert daemon.ctl("events", "--tag", "nobody").returncode == 1
    for bad in (
        ["dance"],
        ["status", "--colour"],
        ["events", "--count", "-1"],
        ["events", "--count", "x"],
    ):
        assert daemon.ctl(*bad).returncode == 64, bad
    daemon.kill()
    assert daemon.ctl("status").returncode == 69
    daemon.socket.unlink()
    gone = daemon.ctl("status", "--json")
    assert gone.returncode == 69
    assert "no daemon answers" in gone.stderr


def test_who_is_not_root_is_refused(daemon, net) -> None:
    """By the file's mode; and where that is opened up, by the daemon itself."""
    public = Path(tempfile.mkdtemp(prefix="callout-public-"))
    public.chmod(0o755)
    shutil.copy(CALLOUTCTL, public / "calloutctl")
    link = public / "control.sock"
    try:
        assert daemon.socket.stat().st_mode & 0o777 == 0o600
        os.link(daemon.socket, link)
        nobody = ["setpriv", "--reuid=nobody", "--clear-groups", "--inh-caps=-all"]
        command = [*nobody, str(public / "calloutctl"), "status", "--socket", str(link)]
        done = net.host.run(*command, check=False)
        assert done.returncode == 77, done
        link.chmod(0o666)
        done = net.host.run(*command, check=False)
        assert done.returncode == 77, done
        assert "root" in done.stderr
        assert done.stdout == ""
    finally:
        shutil.rmtree(public)
