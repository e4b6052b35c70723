# SPDX-License-Identifier: Apache-2.0
"""`calloutctl explain`: what the policy in force makes of a packet, and why."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from daemon import Daemon, policy

CALLOUTS = "- { name: watch, type: inspect }\n- { name: tagged, type: tag }"
FILTERS = """
- name: dns
  layer: outbound-transport-v4
  weight: 9
  conditions: [ { field: ip-remote-port, match: equal, value: 53 } ]
  action: callout-unknown
  callout: tagged
- { name: rest, layer: outbound-transport-v4, weight: 1, action: block }
- { name: hard, layer: outbound-transport-v4, sublayer: high, action: permit,
    flags: [clear-action-right],
    conditions: [ { field: ip-remote-port, match: equal, value: 22 } ] }
- { name: arriving, layer: inbound-transport-v4, action: permit }
- { name: errors in, layer: inbound-icmp-error-v4, action: block }
- { name: errors out, layer: outbound-icmp-error-v4, action: block }
- { name: datagrams, layer: datagram-data-v4, action: callout-inspection, callout: watch }
- { name: asks, layer: ale-auth-connect-v4, action: permit }
- { name: no web, layer: ale-auth-connect-v4, weight: 100, action: block,
    conditions: [ { field: ip-remote-port, match: equal, value: 443 } ] }
- { name: no names, layer: datagram-data-v4, weight: 100, action: block,
    conditions: [ { field: direction, match: equal, value: 0 },
                  { field: ip-remote-port, match: equal, value: 5353 } ] }
- { name: accepts, layer: ale-auth-recv-accept-v4, action: block }
- { name: six, layer: outbound-transport-v6, action: permit }
"""
HEAD = "sublayers:\n  - { name: high, weight: 0xf000 }"


@pytest.fixture
def daemon(start) -> Daemon:
    """A daemon with filters at layers that one packet meets at one hook."""
    return start(policy(FILTERS, CALLOUTS, HEAD))


def explained(daemon: Daemon, *arguments: str) -> dict[str, dict[str, Any]]:
    """The reports by layer."""
    done = daemon.ctl("explain", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    return {report["layer"]: report for report in reports}


def ends(port: int, protocol: str = "udp") -> list[str]:
    return ["--protocol", protocol, "--from", "10.0.0.1:4000", "--to", f"10.0.0.2:{port}"]


def datagram(port: int, protocol: int = 17) -> bytes:
    """An IPv4 packet from port 4000; checksums are not looked at."""
    body = struct.pack(">HHHH", 4000, port, 8, 0)
    addresses = bytes([10, 0, 0, 1, 10, 0, 0, 2])
    return struct.pack(">BBHIBBH", 0x45, 0, 28, 0, 64, protocol, 0) + addresses + body


def unreachable(quoted: bytes) -> bytes:
    """An ICMP error about a packet."""
    body = bytes([3, 3, 0, 0, 0, 0, 0, 0]) + quoted
    addresses = bytes([10, 0, 0, 2, 10, 0, 0, 1])
    return struct.pack(">BBHIBBH", 0x45, 0, 20 + len(body), 0, 64, 1, 0) + addresses + body


def test_a_tuple_is_explained_at_every_layer_that_it_meets(daemon) -> None:
    found = explained(daemon, *ends(53))
    assert set(found) == {
        "outbound-transport-v4", "inbound-transport-v4", "datagram-data-v4",
        "ale-auth-connect-v4", "ale-auth-recv-accept-v4",
    }  # fmt: skip
    asked = found["outbound-transport-v4"]
    assert asked["verdict"] == "callouts" and asked["decided-by"] == "rest"
    assert [step["filter"] for step in asked["steps"]] == ["dns", "rest"]
    assert asked["steps"][0]["callout"] == "tagged"
    assert asked["steps"][0]["outcomes"] == {
        "permit": "permit", "block": "block", "continue": "block",
    }  # fmt: skip
    assert found["ale-auth-recv-accept-v4"]["decided-by"] == "accepts"
    assert found["datagram-data-v4"]["steps"][0]["reason"] == "is shown the packet"


def test_a_segment_is_no_datagram_and_a_hard_permit_stands(daemon) -> None:
    found = explained(daemon, *ends(22, "tcp"))
    assert "datagram-data-v4" not in found
    report = found["outbound-transport-v4"]
    assert (report["verdict"], report["decided-by"]) == ("permit", "hard")
    assert [step["sublayer"] for step in report["steps"]] == ["high", "default"]
    assert "higher sublayer" in report["steps"][1]["reason"]


def test_local_and_remote_are_those_of_the_hook(daemon) -> None:
    found = explained(daemon, *ends(443, "tcp"))
    assert found["ale-auth-connect-v4"]["decided-by"] == "no web"
    done = daemon.ctl("explain", "--json", *ends(5353), "--layer", "datagram-data-v4")
    verdicts = [
        (report["hook"], report["verdict"])
        for report in map(json.loads, done.stdout.splitlines())
    ]
    assert verdicts == [("input", "permit"), ("output", "block")]


def test_flags_are_listed_with_the_filters(daemon) -> None:
    flags = {each["name"]: each["flags"] for each in daemon.ask("filters")}
    assert flags["hard"] == ["clear-action-right"] and flags["rest"] == []
    assert "permit clear-action-right" in daemon.ctl("filters").stdout


def test_devices_choose_the_hooks(daemon) -> None:
    arriving = explained(daemon, *ends(53), "--in", "lo")
    assert "outbound-transport-v4" not in arriving and "inbound-transport-v4" in arriving
    leaving = explained(daemon, *ends(53), "--out", "lo")
    assert "inbound-transport-v4" not in leaving
    assert list(leaving) == ["ale-auth-connect-v4", "datagram-data-v4", "outbound-transport-v4"]


def test_an_icmp_error_is_met_at_its_own_layers(daemon) -> None:
    found = explained(daemon, "--hex", unreachable(datagram(7)).hex())
    assert found["inbound-icmp-error-v4"]["decided-by"] == "errors in"
    assert found["outbound-icmp-error-v4"]["decided-by"] == "errors out"
    others = {"outbound-transport-v4", "datagram-data-v4", "ale-auth-connect-v4"}
    assert not others & set(found)


def test_hex_one_layer_and_the_other_family(daemon) -> None:
    found = explained(daemon, "--hex", datagram(9).hex(), "--layer", "outbound-transport-v4")
    assert list(found) == ["outbound-transport-v4"]
    assert found["outbound-transport-v4"]["verdict"] == "block"
    six = explained(daemon, "--from", "[2001:db8::1]:5", "--to", "[2001:db8::2]:80")
    assert list(six) == ["outbound-transport-v6"]


def test_each_packet_of_a_pcap_file(daemon, tmp_path) -> None:
    file = tmp_path / "two.pcap"
    packets = [datagram(53), datagram(22)]
    text = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for packet in packets:
        text += struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet
    file.write_bytes(text)
    done = daemon.ctl("explain", "--pcap", str(file), "--layer", "outbound-transport-v4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("packet 1") < done.stdout.index("packet 2")
    assert 'up to callouts, else "rest" decides' in done.stdout
    assert 'permit by "hard"' in done.stdout
    done = daemon.ctl("explain", "--pcap", str(file), "--json", "--layer", "outbound-transport-v4")
    assert [json.loads(line)["packet"] for line in done.stdout.splitlines()] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 64, "expected one of"),
        (["--from", "10.0.0.1"], 64, "--to"),
        (["--from", "10.0.0.1:70000", "--to", "10.0.0.2"], 64, "65535"),
        (["--from", "10.0.0.1", "--to", "::1"], 1, "one family"),
        (["--from", "ten", "--to", "10.0.0.2"], 1, "addresses"),
        (["--from", "10.0.0.1", "--to", "10.0.0.2", "--protocol", "abc"], 1, "protocol"),
        (["--from", "10.0.0.1", "--to", "10.0.0.2", "--layer", "nowhere"], 1, "no layer"),
        (["--from", "10.0.0.1", "--to", "10.0.0.2", "--in", "nothing0"], 1, "no interface"),
        (["--hex", "4500xx"], 64, "--hex"),
        (["--hex", "4500"], 1, "cannot be read"),
        (["--pcap", "/nowhere.pcap"], 1, "/nowhere.pcap"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_explained_is_told(daemon, arguments, code: int, message: str) -> None:
    done = daemon.ctl("explain", *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr, done.stderr
    assert daemon.status()["state"] == "running"
