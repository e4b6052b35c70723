# SPDX-License-Identifier: Apache-2.0
"""The demo's second part: whole frames of one interface, through a second run of calloutd."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from programs import LOG, ask, daemon, features
from scene import Screen
from traffic import HOST, PATIENCE, PEER, DemoError

OUR_MAC, PEER_MAC, LIAR = "02:00:00:77:00:01", "02:00:00:77:00:02", "02:00:00:77:00:66"
ALIAS, INVENTED = "02:00:00:77:00:99", "02:00:00:77:00:aa"
STORY = """\
A program at demo0 (TCX) takes each frame out of the kernel, before reassembly inbound and after
fragmentation outbound; calloutd reads it from a ring, decides it, and puts it back where it was
taken, its mark and its VLAN tag as they were."""


def raw(address: str) -> bytes:
    """A MAC address' bytes."""
    return bytes.fromhex(address.replace(":", ""))


def lie() -> bytes:
    """An ARP answer that claims the peer's address for another station."""
    addresses = raw(LIAR) + socket.inet_aton(PEER) + raw(OUR_MAC) + socket.inet_aton(HOST)
    return raw(OUR_MAC) + raw(LIAR) + bytes.fromhex("08060001080006040002") + addresses


def tagged() -> bytes:
    """A frame of VLAN 100 of a protocol that nobody speaks."""
    return raw(OUR_MAC) + raw(PEER_MAC) + bytes.fromhex("8100006488b5") + b"hello".ljust(46)


def plain() -> bytes:
    """A frame of that protocol to the peer."""
    return raw(PEER_MAC) + raw(OUR_MAC) + bytes.fromhex("88b5") + b"who sent me".ljust(46)


def send(frame: bytes, device: str) -> None:
    """Sends a whole frame."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((device, 0))
        sender.send(frame)


def from_peer(frame: bytes) -> None:
    """Has the peer send one."""
    words = ["ip", "netns", "exec", "peer", sys.executable, __file__, "send", frame.hex()]
    subprocess.run(words, check=True)


def be_peer() -> None:
    """The peer's program: sends a frame, or tells the sender of the first of ours that it hears."""
    if sys.argv[1] == "send":
        send(bytes.fromhex(sys.argv[2]), "peer0")
        return
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as receiver:
        receiver.bind(("peer0", 0x88B5))
        receiver.settimeout(PATIENCE)
        print("ready", flush=True)
        print(receiver.recv(2048)[6:12].hex(":"), flush=True)


def shell(text: str) -> str:
    """What a command prints."""
    return subprocess.run(
        ["sh", "-ec", text], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def wait(condition: Callable[[], bool]) -> bool:
    """Whether it comes to hold in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def status() -> dict:
    """What calloutd has counted."""
    return json.loads(ask("status", "--json"))


def packets(callout: str) -> int:
    """How many one callout has met."""
    lines = map(json.loads, ask("callouts", "--json").splitlines())
    return next(each["packets"] for each in lines if each["name"] == callout)


def neighbour() -> str:
    """Whom this host takes for the peer."""
    return shell(f"ip neigh show {PEER}")


def ping() -> tuple[bool, str]:
    """ARP and three pings go through user space."""
    shell("ip neigh flush dev demo0; ip -n peer neigh flush dev peer0")
    answer = shell(f"ping -n -c3 -i0.02 -W5 {PEER}")
    found = re.search(r"= ([\d.]+)/([\d.]+)/", answer)
    wait(lambda: status()["frames"]["frames"] >= 8)
    frames = status()["frames"]
    good = frames["frames"] >= 8 and frames["permitted"] == frames["frames"] and found is not None
    mean = f", {found[2]} ms there and back" if found else ""
    return good, f"{frames['frames']} frames met, {frames['permitted']} permitted{mean}"


def spoof() -> tuple[bool, str]:
    """A station that claims the peer's address is not believed."""
    before = status()["frames"]["blocked"]
    from_peer(lie())
    blocked = wait(lambda: status()["frames"]["blocked"] == before + 1)
    return blocked and PEER_MAC in neighbour(), f"blocked; still {neighbour().strip()}"


def vlan() -> tuple[bool, str]:
    """A frame of VLAN 100 is recognised, tag and all, and bears a context."""
    before = status()["associated"]
    from_peer(tagged())
    met = wait(lambda: packets("vlan-100") == 1)
    return met and status()["associated"] > before, "met by the filter of VLAN 100, and tagged"


def rewrite() -> tuple[bool, str]:
    """A frame leaves under another MAC address."""
    words = ["ip", "netns", "exec", "peer", sys.executable, __file__, "hear"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        peer.stdout.readline()
        send(plain(), "demo0")
        heard = peer.stdout.readline().strip()
    return heard == ALIAS, f"sent by {OUR_MAC}, heard by the peer from {heard}"


def invent() -> tuple[bool, str]:
    """A frame that calloutctl gives to the daemon is received by the peer, as it was given."""
    words = ["ip", "netns", "exec", "peer", sys.executable, __file__, "hear"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        peer.stdout.readline()
        frame = plain().replace(raw(OUR_MAC), raw(INVENTED))
        ask("inject", "--interface", "demo0", "--direction", "send", "--hex", frame.hex(":"))
        heard = peer.stdout.readline().strip()
    return heard == INVENTED, f"calloutctl inject --hex …, heard by the peer from {heard}"


SCENES = [
    ("ARP and ping through user space", ping),
    ("A forged ARP answer", spoof),
    ("A frame with a VLAN tag", vlan),
    ("A frame with another sender", rewrite),
    ("An invented frame", invent),
]


def play(screen: Screen) -> list[str]:
    """Runs this part; returns what was missing."""
    screen.line()
    screen.line("Frames: policy Sources/Examples/Demo/frames.yaml", "bold")
    divert = features()["frame-divert"]
    if divert["support"] != "supported":
        screen.line(f"left out: this kernel cannot divert frames: {divert.get('reason')}")
        return []
    screen.line(STORY)
    shell(
        f"ip link set demo0 address {OUR_MAC}; ip -n peer link set peer0 address {PEER_MAC};"
        "echo 1 >/proc/sys/net/ipv6/conf/demo0/disable_ipv6;"
        "ip netns exec peer sh -c 'echo 1 >/proc/sys/net/ipv6/conf/peer0/disable_ipv6'"
    )
    missing = []
    with daemon(LOG, "frames.yaml") as process:
        for number, (title, scene) in enumerate(SCENES, 1):
            good, text = scene()
            screen.line()
            screen.line(f"{number}  {title}", "bold")
            screen.line(f"   {text}", "good" if good else "bad")
            if not good:
                missing.append(f"{title}: {text}")
        screen.line()
        screen.line("   calloutctl status says of the interface:", "dim")
        for line in ask("status").partition("\n\n")[2].splitlines():
            screen.line(f"   {line}")
        process.terminate()
        if process.wait(PATIENCE) != 0:
            missing.append(f"calloutd ended with status {process.returncode}")
    if any(name.startswith("co") for name in os.listdir("/sys/class/net")):
        missing.append("calloutd left a helper device behind")
    else:
        screen.line("calloutd has stopped; its helper devices are gone.")
    return missing


if __name__ == "__main__":
    try:
        be_peer()
    except TimeoutError as error:
        raise DemoError("the peer heard nothing") from error
