# SPDX-License-Identifier: Apache-2.0
"""The daemon's Prometheus page."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import pytest
from daemon import TAG, Daemon, every, policy
from netns import Topology, wait_for

PORT = 9469
COUNTERS = [
    "callout_queue_packets_total", "callout_queue_bytes_total", "callout_queue_verdicts_total",
    "callout_queue_ids_issued_total", "callout_queue_id_gaps_total",
    "callout_queue_flushed_total", "callout_queue_full_drops_total",
    "callout_queue_user_drops_total", "callout_queue_socket_drops_total",
    "callout_queue_rule_packets_total", "callout_queue_fail_open_passes_total",
    "callout_queue_malformed_total", "callout_queue_vetoes_total", "callout_queue_waiting", "callout_queue_pended",
    "callout_contexts_associated_total", "callout_contexts_live", "callout_contexts_ended_total",
    "callout_events_lost_total", "callout_stale_handles_total", "callout_foreign_flows_total",
    "callout_copies_total", "callout_filter_hits_total", "callout_tag_live", "callout_healthy",
]  # fmt: skip


@pytest.fixture
def daemon(start: Callable[..., Daemon]) -> Daemon:
    """A daemon with metrics."""
    filters = every("outbound-transport-v4", "callout-inspection", "numbered", 'quo"ted \\\\ name')
    filters = filters.replace('quo"ted \\\\ name', "'quo\"ted \\\\ name'").replace("\\\\", "\\")
    return start(policy(filters, TAG, f"metrics: {{ listen: 127.0.0.1:{PORT} }}"))


def http(net: Topology, request: bytes) -> bytes:
    """The answer to a request's bytes."""
    with net.host.entered():
        connection = wait_for(lambda: attempt(), "the metrics' port")
    with connection:
        connection.settimeout(10)
        answer = b""
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except OSError:
            # Whoever sends more than is read is reset.
            pass
        return answer


def attempt() -> socket.socket | None:
    """A connection, if one can be had."""
    try:
        return socket.create_connection(("127.0.0.1", PORT), timeout=5)
    except ConnectionRefusedError:
        return None


def page(net: Topology, path: str = "/metrics") -> str:
    """The page's text."""
    head, _, body = http(net, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    assert f"Content-Length: {len(body)}".encode() in head
    return body.decode()


def value(text: str, name: str) -> int:
    """The sum of a metric's samples."""
    samples = re.findall(rf"^{name}(?:{{.*}})? (\d+)$", text, re.MULTILINE)
    assert samples, f"{name} is missing"
    return sum(int(each) for each in samples)


def test_metrics_have_the_counters(daemon, net, sender) -> None:
    before = value(page(net), "callout_queue_packets_total")
    # The answers of the metrics' server itself come through OUTPUT too.
    sender(7040).send(100)
    wait_for(lambda: value(page(net), "callout_queue_packets_total") >= before + 100, "they count")
    text = page(net)
    for name in COUNTERS:
        value(text, name)
    for name in re.findall(r"^([a-z_]+)", text, re.MULTILINE):
        assert f"# TYPE {name} " in text and f"# HELP {name} " in text
    assert value(text, "callout_healthy") == 1
    associated = value(text, "callout_contexts_associated_total")
    ended = value(text, "callout_contexts_ended_total")
    assert associated == ended + value(text, "callout_contexts_live") >= 100
    assert 'filter="quo\\"ted \\\\ name"' in text


def test_every_line_of_the_page_is_well_formed(daemon, net) -> None:
    sample = re.compile(r'[a-z_]+({[a-z]+="([^"\\\n]|\\.)*"(,[a-z]+="([^"\\\n]|\\.)*")*})? \d+')
    for line in page(net, "/metrics?name=x").splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line), line


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics/more HTTP/1.0\r\n\r\n", b"404"),
        (b"GET /../metrics HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"garbage\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 500, b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", b"400"),
        (b"", b"400"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_other_requests_are_harmless(daemon, net, request_bytes: bytes, status: bytes) -> None:
    answer = http(net, request_bytes)
    # Whoever sends more than is read may be reset before the answer arrives.
    if len(request_bytes) < 8192:
        assert answer.startswith(b"HTTP/1.1 " + status), answer[:80]
    assert value(page(net), "callout_healthy") == 1


def test_metrics_end_with_the_daemon(daemon, net) -> None:
    page(net)
    assert daemon.stop() == 0
    with net.host.entered():
        assert attempt() is None
