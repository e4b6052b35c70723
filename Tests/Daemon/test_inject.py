# SPDX-License-Identifier: Apache-2.0
"""`calloutctl inject` and the callouts that make frames: what a real peer gets, and what is refused."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import CALLOUTCTL, Daemon, policy
from netns import wait_for
from traffic import SO_RCVBUFFORCE, Sink
from wire import HOST_MAC, PEER_MAC, Ear, Wire, link

scapy = pytest.importorskip("scapy.all", reason="python3-scapy is not installed")

ETH0 = "interfaces: [eth0]"
INBOUND, OUTBOUND = "inbound-mac-frame-ethernet", "outbound-mac-frame-ethernet"
WATCH = "- { name: watch, type: inspect }"
EXPERIMENT = 0x88B5


def watching(*layers: str) -> str:
    """A policy whose callout sees all frames of eth0 at these layers."""
    filters = "".join(
        f"- {{ name: {each}, layer: {each}, action: callout-inspection, callout: watch }}\n"
        for each in layers or (INBOUND, OUTBOUND)
    )
    return policy(filters, WATCH, ETH0)


def experiment(text: bytes, size: int = 60) -> bytes:
    """A frame of a protocol that nobody speaks, to the peer."""
    frame = bytes(scapy.Ether(src=HOST_MAC, dst=PEER_MAC, type=EXPERIMENT)) + text
    return frame.ljust(size, b"\0")


def datagram(number: int, port: int = 7000) -> bytes:
    """A frame with a datagram from the peer for this host."""
    packet = scapy.IP(src="10.0.0.1", dst="10.0.0.10") / scapy.UDP(sport=7, dport=port)
    return bytes(scapy.Ether(src=PEER_MAC, dst=HOST_MAC) / packet / f"number {number}".encode())


@pytest.fixture
def peer(wire: Wire, closing: Callable) -> Ear:
    """A packet socket of the peer, with room for all that a test sends."""
    ear = closing(Ear(wire.peer))
    ear.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
    return ear


def inject(
    daemon: Daemon, *words: str, way: str = "send", device: str = "eth0"
) -> subprocess.CompletedProcess[str]:
    """Runs `calloutctl inject`."""
    return daemon.ctl("inject", "--interface", device, "--direction", way, *words)


def ours(ear: Ear) -> list[bytes]:
    """The experiment's frames that were heard."""
    return [each for each in ear.heard() if each[12:14] == b"\x88\xb5"]


def capture(path: Path, frames: list[bytes], kind: str = "pcap") -> Path:
    """Writes a capture by Wireshark's own program."""
    plain = path.with_suffix(".tmp")
    scapy.wrpcap(str(plain), [scapy.Ether(each) for each in frames])
    subprocess.run(["editcap", "-F", kind, str(plain), str(path)], check=True, capture_output=True)
    return path


def test_an_invented_frame_is_received_by_the_peer(run, peer: Ear) -> None:
    daemon = run(watching())
    frame = experiment(b"given as digits")
    for text in (frame.hex(), frame.hex(":"), frame.hex(" "), "0x" + frame.hex(",").upper()):
        done = inject(daemon, "--hex", text)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert done.stderr == "calloutctl: 1 frame injected\n"
    wait_for(lambda: len(ours(peer)) == 4, "four frames")
    assert set(ours(peer)) == {frame}
    assert daemon.status()["frames"]["injected"] == 4
    # It did not meet the layer at which it was injected.
    assert daemon.callout("watch")["packets"] == 0


def test_an_invented_frame_is_received_by_this_host(run, wire: Wire, closing) -> None:
    daemon = run(watching())
    sink = closing(Sink(wire.host, 7000))
    assert inject(daemon, "--hex", datagram(1).hex(), way="receive").returncode == 0
    sink.expect(1)


@pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "pcapng"])
def test_a_capture_is_sent_whole_and_in_order(run, peer: Ear, tmp_path: Path, kind: str) -> None:
    daemon = run(watching())
    sizes = (60, 1514, 61, 14, 128)
    frames = [experiment(b"%06d" % n, sizes[n % 5])[: sizes[n % 5]] for n in range(1000)]
    file = capture(tmp_path / "frames", frames, kind)
    done = inject(daemon, str(file), "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(line["count"] for line in lines) == 1000
    first = 0
    for line in lines:
        assert line["first"] == first
        first += line["count"]
        assert line["injected"] and (line["status"], line["code"]) == ("success", "0x00000000")
    wait_for(lambda: len(ours(peer)) == 1000, "all frames")
    assert ours(peer) == frames


def test_what_tcpdump_captured_is_played_back(run, wire: Wire, peer: Ear, tmp_path: Path) -> None:
    # A capture of real traffic by tcpdump, whole as it wrote it, is played back.
    daemon = run(watching())
    file = tmp_path / "ping.pcap"
    with subprocess.Popen(
        [*wire.host.prefix, "tcpdump", "-i", "eth0", "-U", "-Q", "out", "-w", str(file), "icmp"],
        stderr=subprocess.DEVNULL,
    ) as program:
        wait_for(lambda: file.exists() and file.stat().st_size >= 24, "tcpdump listens")
        wait_for(lambda: wire.answers() and file.stat().st_size > 24 + 98, "a ping is captured")
        program.send_signal(signal.SIGINT)
    count = sum(1 for _ in scapy.PcapReader(str(file)))
    before = sum(b"\x08\x00" == each[34:36] for each in peer.heard())
    assert inject(daemon, str(file)).returncode == 0
    wait_for(
        lambda: sum(b"\x08\x00" == each[34:36] for each in peer.heard()) == before + count,
        "the same requests again",
    )


def test_count_repeat_and_interval(run, peer: Ear, tmp_path: Path) -> None:
    daemon = run(watching())
    file = capture(tmp_path / "two", [experiment(b"a"), experiment(b"b")], "pcapng")
    begin = time.monotonic()
    assert inject(daemon, str(file), "--count", "5", "--interval", "30ms").returncode == 0
    assert time.monotonic() - begin >= 0.12
    wait_for(lambda: len(ours(peer)) == 5, "five frames")
    assert b"".join(each[14:15] for each in ours(peer)) == b"ababa"
    assert inject(daemon, "--hex", experiment(b"c").hex(), "--count", "3").returncode == 0
    wait_for(lambda: len(ours(peer)) == 8, "three more")
    words = ["inject", "-i", "eth0", "--direction", "send", str(file), "--repeat"]
    with subprocess.Popen(
        [CALLOUTCTL, *words, "--socket", str(daemon.socket)], stderr=subprocess.PIPE, text=True
    ) as endless:
        wait_for(lambda: len(ours(peer)) > 1000, "it goes on and on")
        endless.send_signal(signal.SIGINT)
        assert endless.stderr is not None
        told = endless.stderr.read()
    assert endless.returncode == 0
    assert told.endswith("frames injected\n")
    wait_for(lambda: len(ours(peer)) == 8 + int(told.split()[1]), "no more and no fewer than told")


def test_lines_of_standard_input_go_as_they_come(run, peer: Ear) -> None:
    daemon = run(watching())
    words = ["inject", "-i", "eth0", "--direction", "send", "--hex", "-"]
    with subprocess.Popen(
        [CALLOUTCTL, *words, "--socket", str(daemon.socket)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdin is not None and program.stderr is not None
        for number in range(3):
            program.stdin.write(f"# a remark\n\n{experiment(b'%d' % number).hex(' ')}\n")
            program.stdin.flush()
            wait_for(lambda n=number: len(ours(peer)) == n + 1, "the frame before the next line")
        program.stdin.write("abc\n")
        program.stdin.close()
        told = program.stderr.read()
    assert program.returncode == 1
    assert "3 frames injected" in told and "line 10: found half a byte at character 3" in told


def test_a_frame_as_long_as_the_interface_takes_and_one_byte_more(run, wire: Wire, peer: Ear) -> None:
    for space in (wire.host, wire.peer):
        space.run("ip", "link", "set", "eth0", "mtu", "9000")
    daemon = run(watching())
    longest = experiment(b"jumbo", 9014)
    assert inject(daemon, "--hex", longest.hex()).returncode == 0
    wait_for(lambda: ours(peer) == [longest], "the long frame")
    tagged = longest[:12] + b"\x81\x00\x00\x64" + longest[12:]
    assert inject(daemon, "--hex", tagged.hex()).returncode == 0
    for frame in (longest + b"\0", tagged + b"\0"):
        done = inject(daemon, "--hex", frame.hex(), "--json")
        assert done.returncode == 1
        error = json.loads(done.stdout)["error"]
        assert (error["code"], error["frame"]) == ("frame-too-long", 0)
        assert f"{len(frame)} bytes, eth0 takes {len(frame) - 1}" in done.stderr


def test_the_longest_frame_fits_into_a_request(run, wire: Wire, peer: Ear) -> None:
    for space in (wire.host, wire.peer):
        space.run("ip", "link", "set", "eth0", "mtu", "65521")
    daemon = run(watching())
    frame = experiment(b"the longest", 65535)
    request = {
        "interface": "eth0", "direction": "send",
        "frames": [base64.b64encode(frame).decode()],
    }  # fmt: skip
    assert daemon.ask("inject", injection=request)[0]["injected"]
    wait_for(lambda: ours(peer) == [frame], "the frame")


def raw_pcap(link_type: int, packet: bytes, length: int | None = None) -> bytes:
    """A capture file of one packet."""
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)
    return header + struct.pack("<IIII", 0, 0, len(packet), length or len(packet)) + packet


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", ("the file is empty",)),
        (b"plainly no capture", ("neither a pcap nor a pcapng file",)),
        (raw_pcap(1, experiment(b"x"))[:-1], ("the file ends inside the packet at byte 24",)),
        (raw_pcap(1, experiment(b"x"), 1514), ("frame 1", "60 of 1514 bytes", "tcpdump -s 0")),
        (raw_pcap(127, experiment(b"x")), ("frame 1 is of link type 127", "expected Ethernet (1)")),
        (raw_pcap(101, datagram(1)[14:]), ("frame 1: the frame begins with an IP header",)),
        (raw_pcap(1, b"short"), ("frame 1", "5 bytes does not begin with an Ethernet header",)),
    ],
)
def test_files_that_cannot_be_injected(run, peer, tmp_path, contents, words) -> None:
    daemon = run(watching())
    file = tmp_path / "file"
    file.write_bytes(contents)
    done = inject(daemon, str(file))
    assert done.returncode == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert ours(peer) == []


def test_a_file_that_is_damaged_at_its_end_is_refused_before_its_first_frame(
    run, peer: Ear, tmp_path: Path
) -> None:
    daemon = run(watching())
    file = capture(tmp_path / "frames", [experiment(b"%d" % n) for n in range(9)])
    file.write_bytes(file.read_bytes()[:-1])
    done = inject(daemon, str(file))
    assert done.returncode == 1 and "the file ends inside the packet" in done.stderr
    assert daemon.status()["frames"]["injected"] == 0
    missing = inject(daemon, str(tmp_path / "missing"))
    assert missing.returncode == 1 and "No such file" in missing.stderr


def test_where_nothing_can_be_injected_it_says_why_and_what_to_do(run, wire: Wire) -> None:
    link(wire.host, "eth1", wire.peer, "eth1", 1)
    daemon = run(watching(OUTBOUND))
    frame = experiment(b"x").hex()
    for device, way, code, words in (
        ("eth9", "send", "no-interface", ("no interface eth9", "ip link")),
        ("eth1", "send", "not-diverted", ("eth1", "add it to interfaces")),
        ("eth0", "receive", "no-callout", (INBOUND, "callout-inspection", "type inspect")),
    ):
        done = inject(daemon, "--hex", frame, "--json", way=way, device=device)
        assert done.returncode == 1
        assert json.loads(done.stdout)["error"]["code"] == code
        assert all(word in done.stderr for word in words), done.stderr
    wire.host.run("ip", "link", "set", "eth0", "down")
    done = inject(daemon, "--hex", frame, "--json")
    assert json.loads(done.stdout)["error"]["code"] == "interface-down"
    assert "ip link set eth0 up" in done.stderr
    daemon.stop()
    assert inject(daemon, "--hex", frame).returncode == 69


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hex", "012"], ("half a byte at character 3",)),
        (["--hex", "01 0g"], ('"g" at character 5',)),
        (["--hex", "00", "--hex", "1"], ("--hex 2: found half a byte at character 1",)),
        ([], ("either a file or --hex",)),
        (["--hex", "00", "file"], ("either a file or --hex",)),
        (["--hex", "00", "--interval", "soon"], ("a duration such as 10ms",)),
        (["--hex", "00", "--count", "0"], ("--count is 0",)),
    ],
)
def test_wrong_arguments_are_told_with_their_place(wire: Wire, arguments, words) -> None:
    command = [CALLOUTCTL, "inject", "-i", "eth0", "--direction", "send", *arguments]
    done = wire.host.run(*command, check=False)
    assert done.returncode == 64
    assert all(word in done.stderr for word in words), done.stderr
    sideways = wire.host.run(CALLOUTCTL, "inject", "-i", "a", "--direction", "up", check=False)
    assert sideways.returncode == 64 and "send" in sideways.stderr and "receive" in sideways.stderr


def test_a_line_without_an_end_is_refused_in_bounded_memory(wire: Wire) -> None:
    command = [CALLOUTCTL, "inject", "-i", "x", "--direction", "send", "--hex", "-", "--dry-run"]
    limit = f"ulimit -v {2 << 20}; exec timeout 60 "
    for source in ("/dev/zero", "cat /dev/zero | tr '\\0' a |"):
        line = f"{limit}{' '.join(map(str, command))}"
        line = f"{line} < {source}" if source.startswith("/") else f"{source} ({line})"
        done = wire.host.run("sh", "-c", line, check=False)
        assert done.returncode == 1, done
        assert "line 1: found more than 1048576 bytes" in done.stderr, done.stderr
    many = f"yes 'aa bb cc' | head -n 300000 | ({limit}{' '.join(map(str, command))})"
    assert wire.host.out("sh", "-c", many) == "300000 frames, 900000 bytes\n"


def test_a_dry_run_reads_and_counts(tmp_path: Path, wire: Wire) -> None:
    file = capture(tmp_path / "frames", [experiment(b"a"), experiment(b"b", 100)])
    command = [CALLOUTCTL, "inject", "-i", "x", "--direction", "send", "--dry-run", str(file)]
    assert wire.host.out(*command) == "2 frames, 160 bytes\n"


def test_a_pipe_is_read_once(run, peer: Ear, tmp_path: Path) -> None:
    daemon = run(watching())
    file = capture(tmp_path / "frames", [experiment(b"a"), experiment(b"b")])
    command = [CALLOUTCTL, "inject", "-i", "eth0", "--direction", "send", "--count", "3", "-"]
    with file.open("rb") as stdin:
        done = subprocess.run(
            ["sh", "-c", 'cat | "$@"', "sh", *command, "--socket", str(daemon.socket)],
            stdin=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1 and "cannot be read again; give a file" in done.stderr
    wait_for(lambda: len(ours(peer)) == 2, "both frames")


def test_raw_ip_packets_are_injected_at_a_raw_ip_interface(run, wire: Wire, tmp_path: Path) -> None:
    with wire.host.entered():
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tun7", 0x1001))
    try:
        wire.host.sysctl("net.ipv6.conf.tun7.disable_ipv6", "1")
        wire.host.run("ip", "addr", "add", "10.0.7.1/24", "dev", "tun7")
        wire.host.run("ip", "link", "set", "tun7", "up")
        filters = (
            "- { name: out, layer: outbound-mac-frame-native, action: callout-inspection, "
            "callout: watch }"
        )
        daemon = run(policy(filters, WATCH, "interfaces: [tun7]"))
        packet = bytes(scapy.IP(src="10.0.7.1", dst="10.0.7.2") / scapy.UDP(dport=9) / b"raw")
        file = tmp_path / "raw"
        file.write_bytes(raw_pcap(101, packet))
        done = inject(daemon, str(file), device="tun7")
        assert done.returncode == 0, done.stderr
        assert os.read(tun, 2048) == packet
        file.write_bytes(raw_pcap(1, experiment(b"x")))
        done = inject(daemon, str(file), device="tun7")
        assert done.returncode == 1 and "begins with an Ethernet header, those of tun7" in done.stderr
    finally:
        os.close(tun)


@pytest.mark.parametrize(
    "injection",
    [
        None, {}, {"interface": "eth0", "direction": "up", "frames": []},
        {"interface": "eth0", "direction": "send", "frames": []},
        {"interface": "eth0", "direction": "send", "frames": ["?"]},
        {"interface": "eth0", "direction": "send", "frames": [""] * 300},
        {"interface": "", "direction": "send", "frames": [""]},
        {"interface": "e" * 5000, "direction": "send", "frames": ["AAAA"]},
        {"interface": "eth0", "direction": "send", "frames": [""]},
    ],
)  # fmt: skip
def test_requests_that_are_wrong_are_answered(run, injection) -> None:
    daemon = run(watching())
    assert "error" in daemon.ask("inject", injection=injection)[0]
    assert daemon.status()["frames"]["injected"] == 0


def generator(keys: str, layer: str = OUTBOUND) -> str:
    """A policy whose only callout generates."""
    filters = f"- {{ name: here, layer: {layer}, action: callout-inspection, callout: beacon }}\n"
    return policy(filters, f"- {{ name: beacon, type: generate, interface: eth0, {keys} }}", ETH0)


def reload(daemon: Daemon, text: str) -> None:
    """Puts another policy in force."""
    daemon.write(text)
    answer = daemon.ask("reload")[0]
    assert "error" not in answer, answer


def test_a_generator_sends_so_many_frames_at_its_rate(run, peer: Ear) -> None:
    frame = experiment(b"beacon")
    begin = time.monotonic()
    daemon = run(generator(f"frames: {frame.hex(':')}, rate: 100/s, count: 50"))
    wait_for(lambda: daemon.callout("beacon")["packets"] == 50, "fifty frames")
    assert time.monotonic() - begin >= 0.49
    wait_for(lambda: len(ours(peer)) == 50, "the peer has them")
    assert set(ours(peer)) == {frame}
    report = daemon.callout("beacon")
    assert (report["bytes"], report["refused"]) == (50 * len(frame), 0)
    assert daemon.stop() == 0
    assert len(ours(peer)) == 50


def test_a_generator_of_a_file_takes_its_frames_in_turn(run, peer: Ear, tmp_path: Path) -> None:
    frames = [experiment(b"%d" % number) for number in range(3)]
    file = capture(tmp_path / "frames", frames, "pcapng")
    run(generator(f"frames: {file}, rate: 2000/s, count: 301"))
    wait_for(lambda: len(ours(peer)) == 301, "all frames")
    assert ours(peer) == [frames[number % 3] for number in range(301)]


def test_a_generator_at_an_inbound_layer_is_received_by_this_host(run, wire, closing) -> None:
    sink = closing(Sink(wire.host, 7000))
    run(generator(f"frames: {datagram(1).hex()}, rate: 1000/s, count: 20", INBOUND))
    sink.expect(20)


def test_reloads_start_and_stop_a_generator(run, peer: Ear) -> None:
    first = generator(f"frames: {experiment(b'one').hex()}, rate: 200/s")
    daemon = run(policy("", "", ETH0))
    reload(daemon, first)
    wait_for(lambda: len(ours(peer)) > 10, "frames come")
    count = daemon.callout("beacon")["packets"]
    # The same again: it goes on, with its count.
    reload(daemon, first)
    assert daemon.callout("beacon")["packets"] >= count
    reload(daemon, generator(f"frames: {experiment(b'two').hex()}, rate: 200/s"))
    wait_for(lambda: any(b"two" in each for each in ours(peer)), "the other frame")
    last = max(n for n, each in enumerate(ours(peer)) if b"one" in each)
    assert all(b"two" in each for each in ours(peer)[last + 1 :])
    reload(daemon, policy("", "", ETH0))
    before = len(ours(peer))
    reload(daemon, watching())
    assert inject(daemon, "--hex", experiment(b"end").hex()).returncode == 0
    peer.wait(lambda frame: b"end" in frame, "what comes after")
    assert len(ours(peer)) == before + 1


def test_a_generator_waits_for_its_interface(run, wire: Wire, peer: Ear) -> None:
    daemon = run(generator(f"frames: {experiment(b'x').hex()}, rate: 100/s"))
    wait_for(lambda: len(ours(peer)) > 2, "frames come")
    wire.host.run("ip", "link", "set", "eth0", "down")
    wait_for(lambda: daemon.callout("beacon")["refused"] > 20, "they are refused")
    assert daemon.log.count("no frame is generated") == 1
    wire.host.run("ip", "link", "set", "eth0", "up")
    before = len(ours(peer))
    wait_for(lambda: len(ours(peer)) > before + 2, "frames come again")


def delaying(time: str, layer: str = OUTBOUND, head: str = "") -> str:
    """A policy that keeps the experiment's frames waiting."""
    filters = (
        f"- name: slow\n  layer: {layer}\n"
        f"  conditions: [ {{ field: ether-type, match: equal, value: {EXPERIMENT:#x} }} ]\n"
        "  action: callout-terminating\n  callout: slow\n"
    )
    return policy(filters, f"- {{ name: slow, type: delay, for: {time} }}", f"{ETH0}\n{head}")


def counts(daemon: Daemon) -> tuple[int, int]:
    """Frames that have waited, and those that wait."""
    frames = daemon.status()["frames"]
    return frames["held"], frames["held-now"]


def test_delayed_frames_are_injected_again_in_their_order(run, wire: Wire, peer: Ear, closing) -> None:
    daemon = run(delaying("300ms"))
    here = closing(Ear(wire.host))
    frames = [experiment(b"%04d" % number, 60 + number % 1400) for number in range(2000)]
    for frame in frames:
        here.send(frame)
    wait_for(lambda: counts(daemon)[0] == 2000, "all of them wait")
    wait_for(lambda: len(ours(peer)) == 2000, "all of them come")
    assert ours(peer) == frames
    assert counts(daemon) == (2000, 0)


def test_what_waits_is_let_go_at_the_end(run, wire: Wire, peer: Ear, closing) -> None:
    daemon = run(delaying("1h"))
    here = closing(Ear(wire.host))
    frames = [experiment(b"%04d" % number) for number in range(500)]
    for frame in frames:
        here.send(frame)
    wait_for(lambda: counts(daemon) == (500, 500), "all of them wait")
    assert ours(peer) == []
    assert daemon.stop() == 0
    wait_for(lambda: len(ours(peer)) == 500, "all of them come")
    assert ours(peer) == frames
    assert wire.helpers() == []


@pytest.mark.parametrize("on_failure", ["permit", "block"])
def test_where_no_more_frames_can_wait_the_failure_policy_decides(
    run, wire: Wire, peer: Ear, closing, on_failure: str
) -> None:
    daemon = run(delaying("1h", head=f"queues: {{ on-failure: {on_failure} }}"))
    here = closing(Ear(wire.host))
    for number in range(9000):
        here.send(experiment(b"%06d" % number))
        if number % 500 == 0:
            wait_for(lambda n=number: daemon.status()["frames"]["frames"] >= n, "they are met")
    rest = 9000 - 8192
    wait_for(lambda: daemon.status()["frames"]["frames"] == 9000, "all of them are met")
    assert counts(daemon) == (8192, 8192)
    if on_failure == "permit":
        wait_for(lambda: len(ours(peer)) == rest, "the rest goes on")
    else:
        assert daemon.status()["frames"]["blocked"] == rest
    assert daemon.stop() == 0
    wait_for(lambda: len(ours(peer)) == (9000 if on_failure == "permit" else 8192), "what waited")
