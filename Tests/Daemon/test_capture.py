# SPDX-License-Identifier: Apache-2.0
"""`calloutctl capture`: what tshark reads in its files, and what the daemon does meanwhile."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import CALLOUTCTL, Daemon, Record, policy, udp_to
from netns import Topology, wait_for

SENT, DELIVERED, DROPPED = 7111, 7112, 7113
OUT, IN = "outbound-transport-v4", "inbound-ippacket-v4"
TAGS = "".join(
    f"- {{ name: {name}, type: tag, context: sequence }}\n"
    for name in ("sent", "read", "dropped", "second")
)
POLICY = policy(
    udp_to(SENT, OUT, "callout-inspection", "sent")
    + udp_to(DELIVERED, IN, "callout-inspection", "read")
    + udp_to(DROPPED, OUT, "callout-inspection", "dropped"),
    TAGS,
)
BOTH = policy(
    udp_to(SENT, OUT, "callout-inspection", "sent")
    + udp_to(SENT, OUT, "callout-inspection", "second").replace("name: UDP", "name: more UDP"),
    TAGS,
)
FIELDS = [
    "frame.comment", "frame.packet_flags_direction", "frame.interface_name", "frame.verdict.ebpf_tc",
    "frame.packet_id", "frame.interface_queue", "frame.len", "frame.cap_len", "frame.time_epoch",
    "udp.dstport", "data.data", "udp.checksum.status", "frame.encap_type",
]  # fmt: skip


class Capture:
    """A `calloutctl capture` that runs."""

    def __init__(self, daemon: Daemon, file: Path, begin: Callable, *words: str) -> None:
        self.file = file
        self.errors = file.with_suffix(".log")
        with self.errors.open("wb") as log:
            self.process = begin(
                daemon.space,
                *(CALLOUTCTL, "capture", "--write", str(file), *words),
                *("--socket", str(daemon.socket)),
                stderr=log,
            )
        wait_for(lambda: "capturing" in self.told() or self.process.poll() is not None, "a capture")

    def told(self) -> str:
        """What it wrote to standard error."""
        return self.errors.read_text()

    def end(self, number: signal.Signals | None = None) -> int:
        """Asks it to end, if a signal is given, and waits for that; its exit code."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(15)

    def packets(self) -> list[Record]:
        """What tshark reads."""
        words = ["tshark", "-n", "-r", str(self.file), "-T", "fields", "-E", "separator=\t"]
        words += ["-E", "aggregator=\x01", "-o", "udp.check_checksum:FALSE"]
        for field in FIELDS:
            words += ["-e", field]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
        return [dict(zip(FIELDS, row, strict=True)) for row in rows]


@pytest.fixture
def daemon(start: Callable[..., Daemon]) -> Daemon:
    """A daemon that tags three kinds of datagrams."""
    return start(POLICY)


@pytest.fixture
def capture(daemon: Daemon, tmp_path: Path, background: Callable) -> Callable[..., Capture]:
    """Starts a capture and waits until it has begun."""
    return lambda *words, name="capture": Capture(
        daemon, tmp_path / f"{name}.pcapng", background, *words
    )


def written(capture: Capture, count: int) -> None:
    """Waits for a file that holds so many packets."""
    wait_for(lambda: len(capture.packets()) >= count, f"{count} packets in the file", 20)


def test_three_packets_as_tshark_reads_them(
    net: Topology, capture, sender, sink, daemon: Daemon
) -> None:
    rule = ["POSTROUTING", "-p", "udp", "--dport", str(DROPPED), "-j", "DROP"]
    receiver = sink(DELIVERED, net.host)
    net.host.run("iptables", "-t", "mangle", "-A", *rule)
    try:
        running = capture("--count", "3")
        sender(SENT, net.host).send(payload=b"S" * 900)
        sender(DROPPED, net.host).send(payload=b"D" * 40)
        sender(DELIVERED, net.client, to=net.router_address).send(payload=b"R" * 20)
        receiver.expect(1)
        assert running.end() == 0, running.told()
    finally:
        net.host.run("iptables", "-t", "mangle", "-D", *rule)
    assert "3 packets written" in running.told()
    packets = {int(packet["udp.dstport"]): packet for packet in running.packets()}
    assert set(packets) == {SENT, DROPPED, DELIVERED}
    expected = {
        SENT: ("sent", "2", "outside", "0", b"S" * 900, "transmitted"),
        DROPPED: ("dropped", "2", "outside", "2", b"D" * 40, "dropped NETFILTER_DROP in "),
        DELIVERED: ("read", "1", "inside", "0", b"R" * 20, "delivered"),
    }
    for port, (tag, direction, device, verdict, payload, end) in expected.items():
        packet = packets[port]
        assert packet["frame.comment"].startswith(f"{tag}=0x")
        assert "entered_netio" in packet["frame.comment"] and end in packet["frame.comment"]
        assert int(packet["frame.packet_flags_direction"], 0) == int(direction)
        assert packet["frame.interface_name"] == device
        assert int(packet["frame.verdict.ebpf_tc"], 0) == int(verdict)
        assert bytes.fromhex(packet["data.data"]) == payload
        assert packet["frame.len"] == packet["frame.cap_len"] == str(len(payload) + 28)
        assert packet["frame.interface_queue"] == "31000"
        assert int(packet["frame.packet_id"], 0) >> 32 == 31000
    wait_for(lambda: daemon.queue()["copy-range"] == 128, "the copy range is put back")


def test_the_times_are_those_of_the_wall_clock(capture, sender, net: Topology) -> None:
    running = capture("--count", "1")
    before = float(net.host.out("date", "+%s.%N"))
    sender(SENT, net.host).send()
    assert running.end() == 0
    after = float(net.host.out("date", "+%s.%N"))
    assert before - 0.01 <= float(running.packets()[0]["frame.time_epoch"]) <= after + 0.01


def test_snap_cuts_packets_and_keeps_their_length(
    capture, sender, net: Topology, daemon: Daemon
) -> None:
    running = capture("--snap", "300", "--count", "1")
    assert daemon.queue()["copy-range"] == 300
    sender(SENT, net.host).send(payload=b"x" * 1000)
    assert running.end() == 0
    packet = running.packets()[0]
    assert (packet["frame.len"], packet["frame.cap_len"]) == ("1028", "300")
    wait_for(lambda: daemon.queue()["copy-range"] == 128, "the copy range is put back")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_file(capture, sender, net: Topology, daemon, number) -> None:
    running = capture("--tag", "sent")
    assert daemon.queue()["copy-range"] == 65531
    sender(SENT, net.host).send(5)
    sender(DROPPED, net.host).send(5)
    written(running, 5)
    assert running.end(number) == 0
    assert "5 packets written" in running.told()
    packets = running.packets()
    assert len(packets) == 5
    assert all(packet["udp.dstport"] == str(SENT) for packet in packets)
    assert len({packet["frame.packet_id"] for packet in packets}) == 5
    wait_for(lambda: daemon.queue()["copy-range"] == 128, "the copy range is put back")


def test_a_client_that_is_killed_leaves_no_capture_behind(
    capture, sender, net: Topology, daemon: Daemon
) -> None:
    running = capture()
    sender(SENT, net.host).send()
    written(running, 1)
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    wait_for(lambda: daemon.queue()["copy-range"] == 128, "the copy range is put back")
    again = capture("--count", "1", name="again")
    sender(SENT, net.host).send()
    assert again.end() == 0


def test_there_is_one_capture_at_a_time(capture, daemon: Daemon) -> None:
    running = capture()
    second = capture(name="second")
    assert second.end() == 1
    assert "one capture at a time" in second.told()
    assert not second.file.exists()
    assert running.process.poll() is None


def test_a_reload_keeps_the_capture(capture, sender, net: Topology, daemon: Daemon) -> None:
    running = capture("--count", "1")
    daemon.write(POLICY + "\n")
    assert daemon.ctl("reload").returncode == 0
    assert daemon.queue()["copy-range"] == 65531
    sender(SENT, net.host).send(payload=b"x" * 1000)
    assert running.end() == 0
    assert running.packets()[0]["frame.cap_len"] == "1028"


def test_a_packet_with_two_contexts_has_two_comments(
    start, tmp_path: Path, background, sender, net: Topology
) -> None:
    daemon = start(BOTH)
    running = Capture(daemon, tmp_path / "two.pcapng", background, "--count", "2")
    sender(SENT, net.host).send(2)
    assert running.end() == 0
    packets = running.packets()
    assert len(packets) == 2
    for packet in packets:
        comments = packet["frame.comment"].split("\x01")
        assert {comment.split("=")[0] for comment in comments} == {"sent", "second"}


def test_packets_of_all_queues_are_captured(
    start, tmp_path: Path, background, sender, net: Topology
) -> None:
    daemon = start("queues: { first: 31000, count: 2 }\n" + POLICY)
    running = Capture(daemon, tmp_path / "two.pcapng", background, "--count", "40")
    for host in range(40):
        sender(SENT, net.host, to=f"10.0.2.{100 + host}").send()
    assert running.end() == 0
    packets = running.packets()
    assert {packet["frame.interface_queue"] for packet in packets} == {"31000", "31001"}
    assert len({packet["frame.packet_id"] for packet in packets}) == 40
    assert all("entered_netio" in packet["frame.comment"] for packet in packets)


def test_a_capture_can_be_piped(daemon: Daemon, net: Topology, background, sender) -> None:
    words = f"{CALLOUTCTL} capture -w - --count 1 --socket {daemon.socket}"
    pipe = background(
        net.host,
        *("sh", "-c", f"{words} | tshark -n -r - -T fields -e udp.dstport"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_for(lambda: daemon.queue()["copy-range"] == 65531, "a capture")
    sender(SENT, net.host).send()
    assert pipe.communicate(timeout=15)[0].strip() == str(SENT)


def test_a_device_or_a_pipe_is_written_to_and_not_replaced(
    daemon: Daemon, net: Topology, background, sender, tmp_path: Path
) -> None:
    pipe, device, link = (tmp_path / name for name in ("pipe", "device", "link"))
    os.mkfifo(pipe)
    os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    link.symlink_to(tmp_path / "real.pcapng")
    reader = background(net.host, "cat", str(pipe), stdout=subprocess.PIPE)
    for path in (pipe, device, link):
        words = ("capture", "-w", str(path), "--count", "1", "--socket", str(daemon.socket))
        client = background(net.host, CALLOUTCTL, *words, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: daemon.queue()["copy-range"] == 65531, "a capture")
        sender(SENT, net.host).send()
        assert client.wait(timeout=15) == 0
        wait_for(lambda: daemon.queue()["copy-range"] != 65531, "the end of the capture")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert link.is_symlink()
    assert link.stat().st_mode & 0o777 == 0o600
    assert reader.communicate(timeout=15)[0][:4] == bytes.fromhex("0a0d0d0a")


def test_a_full_disk_leaves_whole_packets(
    daemon: Daemon, net: Topology, background, sender, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    path = disk / "full.pcapng"
    words = f"mount -t tmpfs -o size=8k none {disk}; {CALLOUTCTL} capture -w {path}"
    script = f"{words} --socket {daemon.socket}; echo $?; tshark -n -r {path} | wc -l"
    client = background(
        net.host,
        *("unshare", "--mount", "sh", "-c", script),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: daemon.queue()["copy-range"] == 65531, "a capture")
    sender(SENT, net.host).send(12, b"x" * 1400)
    output, errors = client.communicate(timeout=30)
    status, packets = output.split()
    assert (status, int(packets) > 0) == ("1", True)
    assert "No space left on device" in errors
    assert f"{packets} packets written" in errors
    assert "cut short" not in errors


def test_the_daemon_s_end_finishes_the_file(capture, sender, net: Topology, daemon) -> None:
    running = capture()
    sender(SENT, net.host).send(3)
    written(running, 3)
    assert daemon.stop() == 0
    assert running.end() == 69
    assert "the daemon has stopped" in running.told()
    assert len(running.packets()) == 3


def test_a_burst_is_captured_whole_or_told_as_lost(
    capture, flood, sink, net: Topology, daemon: Daemon
) -> None:
    sink(SENT)
    running = capture()
    flood(SENT, count=3000, rate=20000).sent()
    wait_for(lambda: daemon.status()["live"] == 0, "all contexts have ended", 20)
    packets = daemon.queue()["associated"]
    wait_for(lambda: len(running.packets()) == packets, "all packets in the file", 30)
    assert running.end(signal.SIGINT) == 0
    assert "lost" not in running.told()


def test_what_a_slow_client_costs_is_told(
    capture, sender, sink, net: Topology, daemon: Daemon
) -> None:
    sink(SENT)
    running = capture()
    running.process.send_signal(signal.SIGSTOP)
    sender(SENT, net.host).send(4000, payload=b"x" * 8000)
    wait_for(lambda: daemon.status()["live"] == 0, "all contexts have ended", 20)
    associated = daemon.queue()["associated"]
    running.process.send_signal(signal.SIGCONT)

    sizes = [0]

    def is_quiet() -> bool:
        time.sleep(0.3)
        sizes.append(running.file.stat().st_size)
        return sizes[-1] == sizes[-2] > 1000

    wait_for(is_quiet, "the file grows no more", 30)
    assert running.end(signal.SIGINT) == 0
    written = int(re.search(r"(\d+) packets written", running.told())[1])
    lost = int(re.search(r"(\d+) packets were lost", running.told())[1])
    assert written + lost == associated
    assert "left out" not in running.told()


def test_wrong_options_are_usage_errors(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "none.pcapng"
    assert daemon.ctl("capture").returncode == 64
    assert daemon.ctl("capture", "-w", str(file), "--snap", "0").returncode == 64
    assert daemon.ctl("capture", "-w", str(file), "--tag", "nobody").returncode == 1
    assert daemon.ctl("capture", "-w", f"{tmp_path}/no/dir", "--count", "0").returncode == 1
    assert not file.exists()
