# SPDX-License-Identifier: Apache-2.0
"""The cases of layer 2: frames that a device sends, diverted and put back."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import namespace
from build import OUTPUT, ROOT
from measure import HeapCalls, usage
from report import Entry
from subjects import RELEASE, SOCKET
from workbench import OTHER_CPU, START_SECONDS, SUBJECT_CPU, Workbench

OBJECT = ROOT / "Sources/LinkLayer/divert.bpf.o"
PEER = "cobench"
PEER_ADDRESS = "10.98.0.2"
NEAR, FAR = "cobench1", "cobench2"
# So that what the flood sends beyond a reader's pace is dropped, and what passes has been read.
POLICY = """\
mark:       {{ mask: 0x3fffff00, ignore-conflicts: true }}
queues:     {{ first: 31000, on-failure: block }}
rules:      {{ manage: false }}
lifecycle:  {{ source: verdicts }}
interfaces: [ {device} ]
callouts:
  - {{ name: bench-tags, type: tag, context: sequence }}
filters:
"""
FILTER = "  - {{ name: {layer}, layer: {layer}, action: {action} }}\n"
# Until the tables of tags have grown to what the flood needs.
SETTLE_SECONDS = 8
TAGGED = "callout-unknown, callout: bench-tags"


@dataclass(frozen=True)
class Side:
    """A program that takes a device's frames and puts them back."""

    name: str
    words: list[str]


def daemon(
    name: str, device: str, layers: tuple[str, ...], action: str, permits: bool = False
) -> Side:
    """The daemon with one filter at each of some layers."""
    policy = OUTPUT / f"{name}.yaml"
    text = POLICY.format(device=device)
    if permits:
        text = text.replace("on-failure: block", "on-failure: permit")
    policy.write_text(text + "".join(FILTER.format(layer=one, action=action) for one in layers))
    words = [str(RELEASE / "calloutd"), "run", "--config", str(policy), "--socket", SOCKET]
    return Side(name, words)


def queueing_daemon(name: str) -> Side:
    """The daemon with the same filter at the IP layers, by NFQUEUE."""
    layers = ("inbound-ippacket-v4", "outbound-ippacket-v4")
    side = daemon(name, "", layers, "permit", permits=True)
    policy = OUTPUT / f"{name}.yaml"
    text = policy.read_text().replace("manage: false", "manage: true")
    policy.write_text("".join(line for line in text.splitlines(True) if "interfaces" not in line))
    return side


def c_side(name: str, how: str) -> Side:
    return Side(name, [str(OUTPUT / "c-frames"), how, namespace.DEVICE, str(OBJECT)])


@contextmanager
def running(
    bench: Workbench, side: Side, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a side and waits until it diverts."""
    log = OUTPUT / f"{side.name}.log"
    child = bench.children.start(side.words, SUBJECT_CPU, log, environment)

    def is_ready() -> bool:
        if child.poll() is not None:
            raise RuntimeError(f"{side.name} ended at start, see {log}")
        if not side.words[0].endswith("calloutd"):
            return "ready" in log.read_text()
        words = [str(RELEASE / "calloutctl"), "status", "--json", "--socket", SOCKET]
        return subprocess.run(words, check=False, capture_output=True, timeout=10).returncode == 0

    if not namespace.wait_until(is_ready, START_SECONDS):
        raise RuntimeError(f"{side.name} was not ready in time")
    try:
        yield child
    finally:
        bench.children.stop(child)


def frames_gone(device: str) -> int:
    """Frames that a device took: sent, or dropped by one that swallows all."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, columns = line.partition(":")
        if name.strip() == device:
            numbers = [int(number) for number in columns.split()]
            return numbers[3] + numbers[9] + numbers[11]
    raise RuntimeError(f"no device {device}")


def one_rate(bench: Workbench, side: Side) -> float:
    """Frames put back per CPU-second of the program, under a flood that is beyond it."""
    namespace.queue_output(None)
    seconds = bench.effort.slice_seconds * bench.effort.slices
    words = [str(OUTPUT / "flood"), "--address", namespace.TARGET, "--seconds", str(seconds + 3)]
    with running(bench, side) as child:
        flood = bench.children.start(words, OTHER_CPU, OUTPUT / "flood.log")
        try:
            time.sleep(0.5)
            first = (frames_gone(namespace.DEVICE), usage(child.pid).cpu_nanoseconds)
            time.sleep(seconds)
            last = (frames_gone(namespace.DEVICE), usage(child.pid).cpu_nanoseconds)
        finally:
            bench.children.stop(flood)
    return (last[0] - first[0]) * 1e9 / max(last[1] - first[1], 1)


def in_turn(
    bench: Workbench, case: str, sides: list[Side], unit: str, measure: object
) -> list[Entry]:
    """All sides in turn, in another order each round; the first against each of the others."""
    rates: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(bench.effort.rounds):
        shift = number % len(sides)
        for side in sides[shift:] + sides[:shift]:
            rates[side.name].append(measure(bench, side))  # type: ignore[operator]
    bench.raw[case] = rates
    entries = [
        Entry(case, name, statistics.median(several), unit) for name, several in rates.items()
    ]
    ours = rates[sides[0].name]
    for side in sides[1:]:
        ratio = statistics.median(a / b for a, b in zip(ours, rates[side.name], strict=True))
        entries.append(Entry(case, sides[0].name, statistics.median(ours), unit, side.name, ratio))
    return entries


def l2_permit(bench: Workbench) -> list[Entry]:
    """Every frame tagged, so that its mark goes with it."""
    sides = [
        daemon("calloutd", namespace.DEVICE, ("outbound-mac-frame-ethernet",), TAGGED),
        c_side("c-packet-copy", "copy"),
        c_side("c-packet-mark", "mark"),
    ]
    return in_turn(bench, "l2/permit", sides, "frames per CPU-second", one_rate)


def l2_permit_ring(bench: Workbench) -> list[Entry]:
    """Every frame permitted by a filter."""
    sides = [
        daemon("calloutd", namespace.DEVICE, ("outbound-mac-frame-ethernet",), "permit"),
        c_side("c-packet-copy", "copy"),
    ]
    return in_turn(bench, "l2/permit-ring", sides, "frames per CPU-second", one_rate)


def l2_batches(bench: Workbench) -> list[Entry]:
    """A callout that takes chains, or vectors, against one that takes frames one by one."""
    sides = [
        Side(name, [str(RELEASE / "frame-batches"), namespace.DEVICE, name])
        for name in ("chain", "vector", "single")
    ]
    return in_turn(bench, "l2/batches", sides, "frames per CPU-second", one_rate)


def l2_allocations(bench: Workbench) -> list[Entry]:
    """Calls of the heap for each frame, after warm-up, by every way that a frame can take."""
    layer = ("outbound-mac-frame-ethernet",)
    sides = [
        daemon("calloutd", namespace.DEVICE, layer, TAGGED),
        daemon("permit", namespace.DEVICE, layer, "permit"),
        Side("chain", [str(RELEASE / "frame-batches"), namespace.DEVICE, "chain"]),
        Side("vector", [str(RELEASE / "frame-batches"), namespace.DEVICE, "vector"]),
    ]
    return [
        Entry("l2/allocations", side.name, allocations(bench, side), "per frame") for side in sides
    ]


def allocations(bench: Workbench, side: Side) -> float:
    counts = OUTPUT / "heap-calls"
    counts.unlink(missing_ok=True)
    environment = {"LD_PRELOAD": str(OUTPUT / "malloc-count.so"), "ALLOC_COUNT_FILE": str(counts)}
    seconds = bench.effort.steady_seconds
    words = [str(OUTPUT / "flood"), "--address", namespace.TARGET, "--seconds", str(seconds + 9)]
    with running(bench, side, environment), closing(HeapCalls(counts)) as heap:
        if heap.allocations() == 0:
            raise RuntimeError(f"{side.name}: the heap calls of its start were not seen")
        flood = bench.children.start(words, OTHER_CPU, OUTPUT / "flood.log")
        try:
            time.sleep(SETTLE_SECONDS)
            first = (frames_gone(namespace.DEVICE), heap.allocations())
            time.sleep(seconds)
            last = (frames_gone(namespace.DEVICE), heap.allocations())
        finally:
            bench.children.stop(flood)
    return (last[1] - first[1]) / max(last[0] - first[0], 1)


@contextmanager
def peer() -> Iterator[None]:
    """A link to a namespace of its own."""
    namespace.command("ip", "netns", "add", PEER)
    try:
        namespace.command(
            *f"ip link add {NEAR} type veth peer name {FAR} netns {PEER}".split()
        )
        for word, device, address in (
            ([], NEAR, "10.98.0.1"),
            (["-n", PEER], FAR, PEER_ADDRESS),
        ):
            namespace.command("ip", *word, "addr", "add", f"{address}/24", "dev", device)
            namespace.command("ip", *word, "link", "set", device, "up")
        yield
    finally:
        namespace.command("ip", "link", "del", NEAR)
        namespace.command("ip", "netns", "del", PEER)


NOTHING = Side("direct", ["true"])
ALL_LAYERS = ("inbound-mac-frame-ethernet", "outbound-mac-frame-ethernet")


@contextmanager
def perhaps(bench: Workbench, side: Side) -> Iterator[None]:
    if side.words == NOTHING.words:
        yield
    else:
        with running(bench, side):
            yield


def transfer(bench: Workbench, seconds: float, sender: int, receiver: int) -> float:
    """Bits per second of one TCP connection to the peer, whose ends are on these CPUs."""
    received, sent = OUTPUT / "iperf3-s.log", OUTPUT / "iperf3-c.json"
    listen = ["ip", "netns", "exec", PEER, "iperf3", "-s", "-1"]
    server = bench.children.start(listen, receiver, received)
    try:
        namespace.wait_until(lambda: "listening" in received.read_text(), 5)
        words = ["iperf3", "-c", PEER_ADDRESS, "-t", str(max(1, round(seconds))), "--json"]
        client = bench.children.start(words, sender, sent)
        client.wait(timeout=60)
        return float(json.loads(sent.read_text())["end"]["sum_received"]["bits_per_second"])
    finally:
        bench.children.stop(server)


def bulk_rate(bench: Workbench, side: Side) -> float:
    """Bits per second of one TCP connection to the peer."""
    with perhaps(bench, side):
        seconds = bench.effort.slice_seconds * bench.effort.slices
        return transfer(bench, seconds, OTHER_CPU, OTHER_CPU)


def l2_bulk_tcp(bench: Workbench) -> list[Entry]:
    """Bulk data with both directions diverted and permitted."""
    with peer():
        sides = [daemon("calloutd", NEAR, ALL_LAYERS, "permit", permits=True), NOTHING]
        return in_turn(bench, "l2/bulk-tcp", sides, "bits per second", bulk_rate)


def round_trip(bench: Workbench, side: Side) -> float:
    """Microseconds of a ping to the peer and back, in the mean."""
    with perhaps(bench, side):
        words = ["ping", "-q", "-c", "500", "-i", "0.002", PEER_ADDRESS]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
        line = next(line for line in done.stdout.splitlines() if "/avg/" in line)
        return float(line.split("=")[1].split("/")[1]) * 1000


def l2_ping(bench: Workbench) -> list[Entry]:
    """A round trip with both directions diverted, and with both queued."""
    with peer():
        sides = [
            daemon("calloutd", NEAR, ALL_LAYERS, "permit", permits=True),
            queueing_daemon("nfqueue"),
            NOTHING,
        ]
        return in_turn(bench, "l2/ping", sides, "us", round_trip)
