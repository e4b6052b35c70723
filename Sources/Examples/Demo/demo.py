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

import traffic
from programs import LOG, Events, ask, daemon
from scene import ANY, HEADER, Scene, Screen, exits
from traffic import PATIENCE, DemoError, Peer, datagram

INTRODUCTION = """\
Netfilter hands this host's packets to calloutd, which tags some with a 64-bit context of its own
and tells what becomes of each. Below are real packets, between namespaces that this demo made, and
what `calloutctl events` said of them. The reason tells how a context ended; a certainty of exact
means that the kernel or a verdict said so of this very packet, observed that it was known by its
handle, inferred (not met here) that it was concluded."""


def scenes(peer: Peer) -> list[Scene]:
    """What is sent, in this order."""
    tagged, left = "outbound-transport-v4", "outbound-ippacket-v4"
    arrived = "inbound-transport-v4"
    outbound = f"this host > peer, tagged at {tagged} (OUTPUT)"
    inbound = "peer > this host, tagged at inbound-ippacket-v4 (PREROUTING)"
    return [
        Scene(
            "dns-query",
            "A DNS query",
            f"UDP to port 53, {outbound}",
            "A filter at the next layer met it by its handle, a number in the packet's mark. After\n"
            "that layer none of ours lies ahead: it is let go, and its context ends as released.",
            exits(left),
            traffic.query,
        ),
        Scene(
            "dns-answer",
            "The answer to it",
            f"UDP from port 53, {inbound}",
            "The same on the way in: the context lived from PREROUTING to INPUT.",
            exits(arrived),
            lambda: int(peer.read()),
        ),
        Scene(
            "web",
            "A web page, by curl",
            f"TCP to port 80, {outbound}",
            "Each packet of the connection has a context of its own; this was the first, the SYN.",
            exits(left),
            traffic.request,
            least_lives=4,
            start="curl started",
        ),
        Scene(
            "closed",
            "A datagram to a closed port",
            f"UDP to port 9, {inbound}",
            "UDP to a closed port: netfilter let it go. What the kernel did after that, here drop it\n"
            "for want of a socket, only the kernel's own events can tell (not part of this build).",
            exits(arrived),
            lambda: peer.send(9),
        ),
        Scene(
            "blocked",
            "A blocked datagram",
            f"UDP to port 666, {outbound}",
            "One filter tagged it, the next blocked it. No exit_netio, as it never left; its context\n"
            "ends all the same, and says why. (The peer will be asked whether it got it.)",
            [("context_removed", tagged, "blocked", "exact")],
            lambda: datagram(666),
        ),
        Scene(
            "copied",
            "A datagram that iptables copies",
            f"UDP to port 7000, {inbound}",
            "TEE in PREROUTING copied it, mark and all. The copy came by OUTPUT, where a packet that\n"
            "arrived cannot be: so it is a copy. It shares the context, which the last one ends.",
            [
                ("duplicated_by_netio", tagged, None, "observed"),
                ("exit_netio", left, None, "exact"),
                ("exit_netio", arrived, None, "exact"),
                ("context_removed", ANY, "released", "exact"),
            ],
            lambda: peer.send(7000),
        ),
        Scene(
            "pended",
            "A datagram that has to wait",
            f"UDP to port 5000, {outbound}",
            "The delay callout kept it for 200 ms; other packets go on meanwhile.",
            exits(left),
            lambda: datagram(5000),
            least_ms=200,
        ),
    ]


def play(screen: Screen, stack: contextlib.ExitStack) -> list[str]:
    """Runs the whole demo and returns what was missing."""
    traffic.make_network()
    peer = Peer(stack)
    process = stack.enter_context(daemon(LOG))
    events = Events(stack)
    deadline = time.monotonic() + PATIENCE
    while not events.wait("ready", 0.05):
        if time.monotonic() > deadline:
            raise DemoError("calloutctl events showed nothing")
        datagram(1)
    status = json.loads(ask("status", "--json"))
    screen.line(f"calloutd {status['version']}, policy Sources/Examples/Demo/policy.yaml", "bold")
    screen.line(INTRODUCTION)
    screen.line()
    screen.line(HEADER, "dim")
    missing = []
    for number, scene in enumerate(scenes(peer), 1):
        scene.sent = scene.send()
        events.wait(scene.tag, PATIENCE, scene.least_lives)
        scene.lives = events.lives(scene.tag)
        screen.scene(number, scene)
        if problem := scene.problem():
            missing.append(f"{scene.title}: {problem}")
    if got := peer.got_blocked():
        missing.append(f"the peer got {got} of the blocked datagrams")
    else:
        screen.line()
        screen.line("The peer got the datagram that waited, and not the one that was blocked.")
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
