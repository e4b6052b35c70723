# SPDX-License-Identifier: Apache-2.0
"""The rewrite callout: what arrives is what was asked for, with good checksums."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import EXAMPLES, policy
from netns import Topology, wait_for

FIELDS = ["ip.src", "ip.dst", "udp.srcport", "udp.dstport", "ip.ttl", "ip.dsfield.dscp"]
CHECKED = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
CHECKED += ["-o", "tcp.check_checksum:TRUE"]


def shark(file: Path, *options: str) -> list[list[str]]:
    """What tshark reads from a capture, a row a packet."""
    command = ["tshark", "-n", "-r", str(file), *CHECKED, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.fixture
def capture(net: Topology, background, tmp_path: Path) -> Callable[[str], Callable[[], Path]]:
    """Begins a capture at the server's device; what it gives ends it and names the file."""

    def begin(expression: str) -> Callable[[], Path]:
        file = tmp_path / "capture.pcap"
        process = background(
            net.server, "tcpdump", "-i", "eth0", "-U", "--immediate-mode", "-w", str(file),
            expression, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert b"listening" in process.stderr.readline()

        def end() -> Path:
            process.terminate()
            process.wait(10)
            return file

        return end

    return begin


def bad_checksums(file: Path) -> list[list[str]]:
    """Packets whose checksums tshark calls bad."""
    bad = " || ".join(f"{p}.checksum.status == 0" for p in ("ip", "udp", "tcp"))
    return shark(file, "-Y", bad)


def test_rewrite_example_redirects_queries_and_restores_answers(
    start, net: Topology, background, capture
) -> None:
    net.server.run("ip", "addr", "replace", "10.0.0.7/32", "dev", "lo")
    net.host.run("ip", "route", "replace", "10.0.0.0/24", "via", net.server_address)
    # Without its offload the peer's answers have checksums that a capture can verify.
    net.server.run("ethtool", "-K", "eth0", "tx", "off")
    daemon = start((EXAMPLES / "rewrite.yaml").read_text())
    background(net.server, "socat", "UDP-RECVFROM:8053,fork,bind=10.0.0.7", "SYSTEM:cat")
    wait_for(lambda: "8053" in net.server.out("ss", "-lun"), "socat listens")
    end = capture("udp port 8053")
    with net.host.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(5)
        client.connect(("10.0.0.1", 53))
        for size in (1, 2, 3, 100, 1000):
            client.send(os.urandom(size) if size > 3 else b"?" * size)
            assert len(client.recv(2000)) == size
    assert daemon.callout("redirect")["packets"] == 5
    assert daemon.callout("restore")["packets"] == 5
    assert daemon.queue()["rewrites-refused"] == 0
    file = end()
    columns = [option for name in FIELDS for option in ("-e", name)]
    rows = shark(file, "-Y", "udp.dstport == 8053", "-T", "fields", *columns)
    assert len(rows) == 5
    for row in rows:
        assert [row[1], *row[3:]] == ["10.0.0.7", "8053", "64", "46"]
    assert bad_checksums(file) == []


def test_rewrite_of_ttl_and_dscp_of_forwarded_packets(start, net: Topology, capture) -> None:
    callouts = "- { name: lower, type: rewrite, set: { ttl: 9, dscp: 3 } }"
    layers = "".join(
        f"- {{ name: v{version}, layer: ipforward-v{version}, action: callout-terminating, "
        "callout: lower }\n"
        for version in (4, 6)
    )
    start(policy(layers, callouts))
    end = capture("icmp or icmp6")
    net.client.run("ping", "-q", "-c3", "-i0.01", net.server_address)
    net.client.run("ping", "-q", "-c3", "-i0.01", "fd00:2::2")
    file = end()
    fields = ["-T", "fields", "-e", "ip.ttl", "-e", "ip.dsfield.dscp"]
    # The kernel has lowered the time to live before FORWARD, and does not again.
    assert shark(file, "-Y", "icmp.type == 8", *fields) == [["9", "3"]] * 3
    fields = ["-T", "fields", "-e", "ipv6.hlim", "-e", "ipv6.tclass.dscp"]
    assert shark(file, "-Y", "icmpv6.type == 128", *fields) == [["9", "3"]] * 3
    assert bad_checksums(file) == []


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_rewrite_of_tcp_ports_carries_whole_downloads(
    start, net: Topology, background, tmp_path: Path, family: str
) -> None:
    """curl to port 8081 talks to the server's port 8080, with segmentation offload and without."""
    server = net.server_address if family == "v4" else "fd00:2::2"
    filters = f"""
- name: requests
  layer: outbound-transport-{family}
  conditions:
    - {{ field: ip-protocol, match: equal, value: tcp }}
    - {{ field: ip-remote-port, match: equal, value: 8081 }}
  action: callout-terminating
  callout: there
- name: answers
  layer: inbound-ippacket-{family}
  conditions:
    - {{ field: ip-protocol, match: equal, value: tcp }}
    - {{ field: ip-remote-port, match: equal, value: 8080 }}
  action: callout-terminating
  callout: back
"""
    callouts = (
        "- { name: there, type: rewrite, set: { ip-remote-port: 8080 } }\n"
        "- { name: back, type: rewrite, set: { ip-remote-port: 8081 } }"
    )
    daemon = start(policy(filters, callouts))
    data = os.urandom(2_000_000)
    (tmp_path / "file").write_bytes(data)
    address = "0.0.0.0" if family == "v4" else "::"
    background(
        net.server, "python3", "-m", "http.server", "8080", "--bind", address,
        cwd=tmp_path, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: ":8080" in net.server.out("ss", "-ltn"), "the server listens")
    url = f"http://[{server}]:8081/file" if ":" in server else f"http://{server}:8081/file"
    fetched = tmp_path / "fetched"
    for offload in ("on", "off"):
        net.host.run("ethtool", "-K", "outside", "tso", offload, "gso", offload)
        net.host.run("curl", "-sS", "-m", "20", "-o", str(fetched), url)
        assert hashlib.sha256(fetched.read_bytes()).digest() == hashlib.sha256(data).digest()
    queue = daemon.queue()
    assert queue["rewritten"] > 20
    assert queue["rewrites-refused"] == queue["verdict-errors"] == 0
