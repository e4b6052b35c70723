#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The screen of `make demo`: real packets, and the life of each that calloutd tagged.

Runs as root in namespaces of its own, so started by Tests/run-in-namespace.sh. Three hosts: this
one with calloutd, a peer to talk to, and a monitor to which an iptables rule sends copies.
Exit status 0 only if every packet lived as expected.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time

import frames
import traffic
from programs import LOG, Trace, ask, daemon
from scene import ANY, Scene, Screen, Step
from traffic import PATIENCE, DemoError, Peer, datagram

INTRODUCTION = """\
Netfilter hands this host's packets to calloutd, which tags some with a 64-bit context of its own;
programs inside the kernel note what becomes of each. Below are real packets, between namespaces
that this demo made, and what `calloutctl trace` says of them: milliseconds since the first event
and since the one before, the event, the layer, how it is known, and how the context ended."""

TAGGED, LEFT = "outbound-transport-v4", "outbound-ippacket-v4"
CAME, ARRIVED = "inbound-ippacket-v4", "inbound-transport-v4"
OUTBOUND = f"this host > peer, tagged at {TAGGED} (OUTPUT)"
INBOUND = f"peer > this host, tagged at {CAME} (PREROUTING)"


def sent(end: str = "transmitted on demo0") -> list[Step]:
    """The life of a packet that a device takes."""
    return [
        Step("entered_netio", TAGGED, "exact"),
        Step("exit_netio", LEFT, "exact"),
        Step("send_complete", TAGGED, ANY, ANY),
        Step("context_removed", TAGGED, ANY, end),
    ]


def scenes(peer: Peer) -> list[Scene]:
    """What is sent, in this order."""
    return [
        Scene(
            "dns-query",
            "A DNS query",
            f"UDP to port 53, {OUTBOUND}",
            "A filter at the next layer met it by its handle, a number in the packet's mark. Then\n"
            "it left the stack, and the device took it.",
            sent(),
            traffic.query,
        ),
        Scene(
            "dns-answer",
            "The answer to it",
            f"UDP from port 53, {INBOUND}",
            "On the way in its last layer is INPUT; then it reached a socket. Callout waits a moment\n"
            "for its reader, whom the kernel does not always show.",
            [
                Step("entered_netio", CAME, "exact"),
                Step("exit_netio", ARRIVED, "exact"),
                Step("receive_complete", CAME, ANY, ANY),
                Step("context_removed", CAME, ANY, "delivered.*"),
            ],
            peer.read,
        ),
        Scene(
            "web",
            "A web page, by curl",
            f"TCP to port 80, {OUTBOUND}",
            "Each packet of the connection has a context of its own; this was the first, the SYN.",
            sent(),
            traffic.request,
            least_lives=4,
        ),
        Scene(
            "closed",
            "A datagram to a closed port",
            f"UDP to port 9, {INBOUND}",
            "Netfilter let it go; the kernel dropped it for want of a socket, and says where.",
            [
                Step("entered_netio", CAME, "exact"),
                Step("exit_netio", ARRIVED, "exact"),
                Step("context_removed", CAME, "exact", r"dropped NO_SOCKET in \w+\+0x\w+.*"),
            ],
            lambda: peer.send(9),
        ),
        Scene(
            "filtered",
            "A datagram that an iptables rule drops",
            f"UDP to port 4444, {OUTBOUND}",
            "Callout let it go on; somebody else's rule in POSTROUTING dropped it after that.",
            [
                Step("entered_netio", TAGGED, "exact"),
                Step("exit_netio", LEFT, "exact"),
                Step("context_removed", TAGGED, "exact", r"dropped NETFILTER_DROP in \w+\+0x\w+.*"),
            ],
            lambda: datagram(4444),
        ),
        Scene(
            "blocked",
            "A datagram that Callout blocks",
            f"UDP to port 666, {OUTBOUND}",
            "One filter tagged it, the next blocked it: no exit_netio, as it never left. (The peer\n"
            "will be asked whether it got it.)",
            [
                Step("entered_netio", TAGGED, "exact"),
                Step("context_removed", TAGGED, "exact", "blocked"),
            ],
            lambda: datagram(666),
        ),
        Scene(
            "copied",
            "A datagram that iptables copies",
            f"UDP to port 7000, {INBOUND}",
            "TEE in PREROUTING copied it, mark and all. The copy came by OUTPUT, where a packet that\n"
            "arrived cannot be: so it is a copy. It shares the context, which ends as the best of them\n"
            "does: the original found no socket, but a device took the copy.",
            [
                Step("entered_netio", CAME, "exact"),
                Step("duplicated_by_netio", TAGGED, "observed", r"copy is packet \d+"),
                Step("exit_netio", LEFT, "exact"),
                Step("exit_netio", ARRIVED, "exact"),
                Step("send_complete", CAME, ANY, "on demo1"),
                Step("context_removed", CAME, ANY, "transmitted on demo1"),
            ],
            lambda: peer.send(7000),
        ),
        Scene(
            "pended",
            "A datagram that has to wait",
            f"UDP to port 5000, {OUTBOUND}",
            "The delay callout kept it for 200 ms; other packets go on meanwhile.",
            sent(),
            lambda: datagram(5000),
            least_ms=200,
        ),
    ]


def play(screen: Screen, stack: contextlib.ExitStack) -> list[str]:
    """Runs the whole demo and returns what was missing."""
    traffic.make_network()
    peer = Peer(stack)
    process = stack.enter_context(daemon(LOG))
    trace = Trace(stack)
    deadline = time.monotonic() + PATIENCE
    while not trace.wait("ready", 0.05):
        if time.monotonic() > deadline:
            raise DemoError("calloutctl trace showed nothing")
        datagram(1)
    status = json.loads(ask("status", "--json"))
    screen.line(f"calloutd {status['version']}, policy Sources/Examples/Demo/policy.yaml", "bold")
    screen.line(INTRODUCTION)
    missing = []
    for number, scene in enumerate(scenes(peer), 1):
        scene.send()
        trace.wait(scene.tag, PATIENCE, scene.least_lives)
        scene.lives = trace.lives(scene.tag)
        screen.scene(number, scene)
        if problem := scene.problem():
            missing.append(f"{scene.title}: {problem}")
    if got := peer.got_blocked():
        missing.append(f"the peer got {got} of the blocked datagrams")
    else:
        screen.line()
        screen.line("The peer got the datagram that waited, and not the one that was blocked.")
    trace.stop()
    return missing + farewell(screen, process)


def farewell(screen: Screen, process: subprocess.Popen[bytes]) -> list[str]:
    """Stops the daemon; returns what it left behind."""
    missing = []
    status = json.loads(ask("status", "--json"))
    screen.line()
    reasons = ", ".join(f"{count} {name}" for name, count in status["ended-by-reason"].items())
    screen.line(
        f"In all {status['associated']} contexts were put on packets, {status['ended']} have ended"
        f" ({reasons}), {status['live']} live."
    )
    if status["associated"] != status["ended"]:
        missing.append("not all contexts have ended")
    process.terminate()
    if process.wait(PATIENCE) != 0:
        missing.append(f"calloutd ended with status {process.returncode}")
    rules = subprocess.run(
        ["sh", "-c", "nft list tables; iptables-save"], check=True, capture_output=True, text=True
    ).stdout
    if "callout" in rules.lower():
        missing.append("calloutd left rules behind")
    else:
        screen.line("calloutd has stopped and taken its rules away.")
    return missing


def main() -> int:
    screen = Screen()
    try:
        with contextlib.ExitStack() as stack:
            missing = play(screen, stack)
            missing += frames.play(screen)
    except (DemoError, OSError, subprocess.SubprocessError) as error:
        missing = [str(error)]
        if LOG.exists():
            screen.line(LOG.read_text(), "dim")
    screen.line()
    for text in missing:
        screen.line(f"MISSING  {text}", "bad")
    if not missing:
        screen.line("Each packet lived as expected.", "good")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
