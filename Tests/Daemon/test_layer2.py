# SPDX-License-Identifier: Apache-2.0
"""Frames of a real interface through the daemon: built-in callouts, reloads, devices, death."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import CALLOUTD, EXAMPLES, TAG, Daemon, policy
from netns import wait_for
from traffic import Sink
from wire import HOST_MAC, PEER_MAC, Ear, Wire, link

scapy = pytest.importorskip("scapy.all", reason="python3-scapy is not installed")

ETH0 = "interfaces: [eth0]"
BOTH = ("inbound-mac-frame-ethernet", "outbound-mac-frame-ethernet")
UNIT = Path(__file__).resolve().parents[2] / "Sources/calloutd/Install/calloutd.service"
EXPERIMENT = 0x88B5
GATEWAY_MAC = "02:00:00:00:00:01"


def every_frame(action: str = "permit", callout: str = "", layers: tuple[str, ...] = BOTH) -> str:
    """A filter of all frames for each layer."""
    suffix = f", callout: {callout}" if callout else ""
    return "".join(
        f"- {{ name: {each}, layer: {each}, action: {action}{suffix} }}\n" for each in layers
    )


def example(name: str) -> str:
    """An example policy's text."""
    return (EXAMPLES / f"{name}.yaml").read_text()


@pytest.fixture
def ear(closing: Callable) -> Callable[..., Ear]:
    """Opens a packet socket."""
    return lambda space, device="eth0": closing(Ear(space, device))


def diverting(daemon: Daemon) -> set[tuple[str, str]]:
    """The interfaces and directions that are diverted now."""
    ports = daemon.status()["ports"]
    return {(each["interface"], each["direction"]) for each in ports if each["diverting"]}


def both(*interfaces: str) -> set[tuple[str, str]]:
    """Both directions of each."""
    return {(name, way) for name in interfaces for way in ("inbound", "outbound")}


def reload(daemon: Daemon, text: str) -> None:
    """Puts another policy in force."""
    daemon.write(text)
    answer = daemon.ask("reload")[0]
    assert "error" not in answer, answer


def refused(daemon: Daemon, text: str) -> str:
    """What the daemon says to a policy that it cannot put in force."""
    daemon.write(text)
    return daemon.ask("reload")[0]["error"]["message"]


def test_arp_and_ping_go_through_user_space_and_are_tagged(run, wire: Wire) -> None:
    daemon = run(policy(every_frame("callout-inspection", "numbered"), TAG, ETH0))
    assert wire.ping("-c3", "-i0.01").count(" 0% packet loss") == 1
    # ARP each way, three requests and three answers.
    frames = wait_for(
        lambda: (status := daemon.status()["frames"])["frames"] >= 8 and status, "the frames"
    )
    assert frames["permitted"] == frames["frames"]
    assert frames["blocked"] == frames["lost"] == 0
    status = daemon.status()
    assert status["associated"] >= 8
    assert status["associated"] == status["live"] + status["ended"]
    for port in status["ports"]:
        assert port["interface"] == "eth0" and port["diverting"] and port["lost"] == {}
        assert port["diverted"] >= 4 and port["permitted"] >= 4
    assert diverting(daemon) == both("eth0")
    text = daemon.ctl("status").stdout
    assert re.search(r"^frames +\d+ met, \d+ permitted, 0 blocked$", text, re.MULTILINE)
    assert re.search(r"^eth0 +inbound +diverted +\d+ +\d+ +0 +0 +0 +0$", text, re.MULTILINE)
    assert len(wire.helpers()) == 2
    assert daemon.stop() == 0
    assert wire.helpers() == []
    assert wire.answers()


def test_a_spoofed_arp_is_blocked_by_the_example(tmp_path, closing, ear) -> None:
    wire = closing(Wire(GATEWAY_MAC))
    daemon = closing(Daemon(wire.host, example("arp-inspect"), tmp_path)).start()
    wire.host.sysctl("net.ipv4.conf.eth0.arp_accept", "1")

    def neighbour() -> str:
        return wire.host.out("ip", "neigh", "show", wire.address)

    assert wire.answers()
    assert GATEWAY_MAC in neighbour()
    liar = "02:00:00:00:00:66"
    lie = scapy.Ether(src=liar, dst=HOST_MAC) / scapy.ARP(
        op=2, hwsrc=liar, psrc=wire.address, hwdst=HOST_MAC, pdst="10.0.0.10"
    )
    attacker = ear(wire.peer)
    attacker.send(bytes(lie))
    wait_for(lambda: daemon.status()["frames"]["blocked"] == 1, "the lie is blocked")
    assert GATEWAY_MAC in neighbour()
    assert wire.answers()
    wait_for(lambda: "arp" in daemon.log.lower(), "a line in the log")
    # Nothing else would have stopped it.
    daemon.stop()
    wire.host.run("ip", "neigh", "flush", "dev", "eth0")

    def believes() -> bool:
        attacker.send(bytes(lie))
        return liar in neighbour()

    wait_for(believes, "the lie is believed without calloutd")


def test_the_frames_example_tags_a_vlan_delays_and_blocks(run, wire: Wire, ear) -> None:
    daemon = run(example("frames"))
    here, there = ear(wire.host), ear(wire.peer)
    for control in (100, 0xA064, 101):
        frame = scapy.Ether(src=PEER_MAC, dst=HOST_MAC) / scapy.Dot1Q(
            vlan=control & 0xFFF, prio=control >> 13, type=EXPERIMENT
        )
        there.send(bytes(frame / (b"vlan %d" % control)))
    wait_for(lambda: daemon.callout("vlan-tags")["packets"] == 2, "two of three are of VLAN 100")
    here.wait(lambda frame: b"vlan 101" in frame, "the third goes on too")
    assert daemon.status()["associated"] == 2

    lldp = scapy.Ether(src=HOST_MAC, dst="01:80:c2:00:00:0e", type=0x88CC) / b"\x02\x07\x04LLDP"
    here.send(bytes(lldp))
    lab = scapy.Ether(src=HOST_MAC, dst="02:00:5e:00:00:07", type=EXPERIMENT) / b"to the lab"
    begin = time.monotonic()
    here.send(bytes(lab))
    there.wait(lambda frame: b"to the lab" in frame, "the frame that waits")
    assert time.monotonic() - begin >= 0.02
    assert not any(b"LLDP" in frame for frame in there.heard())
    frames = daemon.status()["frames"]
    assert (frames["held"], frames["held-now"], frames["blocked"]) == (1, 0, 1)


def test_the_rewrite_mac_example_puts_a_station_into_a_vlan(run, wire: Wire, ear, closing) -> None:
    wire.know_each_other()
    daemon = run(example("rewrite-mac"))
    there = ear(wire.peer)
    receiver = closing(Sink(wire.host, 7000))
    assert not wire.answers()
    there.wait(lambda frame: frame[12:16] == b"\x81\x00\xa0\x64", "a frame of VLAN 100, priority 5")
    packet = (
        scapy.IP(src=wire.address, dst="10.0.0.10") / scapy.UDP(sport=7, dport=7000) / b"answer"
    )
    for vlan in (101, 100):
        header = scapy.Ether(src=PEER_MAC, dst=HOST_MAC) / scapy.Dot1Q(vlan=vlan)
        there.send(bytes(header / packet))
    receiver.expect(1)
    assert daemon.status()["frames"]["rewritten"] == 2


def test_a_mac_address_is_rewritten(run, wire: Wire, ear) -> None:
    change = "- { name: alias, type: rewrite-mac, set: { mac-source-address: 02:00:00:00:00:77 } }"
    run(policy(every_frame("callout-terminating", "alias", BOTH[1:]), change, ETH0))
    here, there = ear(wire.host), ear(wire.peer)
    here.send(bytes(scapy.Ether(src=HOST_MAC, dst=PEER_MAC, type=EXPERIMENT) / b"who am I"))
    frame = there.wait(lambda frame: b"who am I" in frame, "the frame")
    assert frame[6:12] == bytes.fromhex("020000000077")


def test_the_generate_example_sends_frames_of_its_own(run, wire: Wire, ear) -> None:
    there = ear(wire.peer)
    run(example("generate"))
    for _ in range(2):
        frame = there.wait(lambda frame: b"hello" in frame, "a frame")
        assert frame[:6] == b"\xff" * 6
        there.frames.clear()


def test_every_example_with_frames_is_run_here() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.yaml") if "mac-frame" in path.read_text()}
    run_here = set(re.findall(r'example\("([a-z-]+)"\)', Path(__file__).read_text()))
    assert names and names <= run_here


@pytest.mark.parametrize("on_failure", ["permit", "block"])
def test_killed_under_ping_traffic_goes_on_and_no_helper_is_left(
    run, wire: Wire, background, on_failure: str
) -> None:
    head = f"{ETH0}\nqueues: {{ on-failure: {on_failure} }}"
    daemon = run(policy(every_frame("callout-inspection", "numbered"), TAG, head))
    assert wire.answers()
    assert len(wire.helpers()) == 2
    background(wire.host, "ping", "-n", "-q", "-i0.005", wire.address)
    before = daemon.status()["frames"]["frames"]
    wait_for(lambda: daemon.status()["frames"]["frames"] > before + 50, "the pings are met")
    daemon.kill()
    begin = time.monotonic()
    wait_for(wire.answers, "traffic goes on", within=1)
    assert time.monotonic() - begin < 1
    wait_for(lambda: wire.helpers() == [], "no helper is left", within=1)
    daemon.start()
    assert wire.answers()
    assert daemon.status()["frames"]["frames"] > 0


def test_reloads_that_add_and_remove_the_last_filter_lose_no_ping(
    run, wire: Wire, background
) -> None:
    none = policy("", TAG, ETH0)
    some = policy(every_frame("callout-inspection", "numbered"), TAG, ETH0)
    daemon = run(none)
    wire.know_each_other()
    output = daemon.directory / "ping"
    with output.open("wb") as file:
        ping = background(
            wire.host, "ping", "-n", "-q", "-i0.002", "-c1500", "-W5", wire.address, stdout=file
        )
    reloads = 0
    while ping.poll() is None:
        reload(daemon, none if reloads % 2 else some)
        assert diverting(daemon) == (set() if reloads % 2 else both("eth0"))
        reloads += 1
    assert reloads >= 6
    text = output.read_text()
    assert "1500 packets transmitted, 1500 received, 0% packet loss" in text
    assert "duplicates" not in text
    reload(daemon, none)
    assert wire.helpers() == []
    assert all(port["forced-removals"] == 0 for port in daemon.status()["ports"])


def test_a_reload_changes_the_interfaces(run, wire: Wire) -> None:
    link(wire.host, "eth1", wire.peer, "eth1", 1, "02:00:00:00:01:02")
    frames = every_frame("callout-inspection", "numbered")
    daemon = run(policy(frames, TAG, ETH0))
    assert diverting(daemon) == both("eth0")
    reload(daemon, policy(frames, TAG, "interfaces: [eth1]"))
    assert diverting(daemon) == both("eth1")
    before = daemon.status()["frames"]["frames"]
    assert wire.answers()
    assert daemon.status()["frames"]["frames"] == before
    assert wire.answers(to="10.0.1.1")
    assert daemon.status()["frames"]["frames"] > before
    reload(daemon, policy(frames, TAG, "interfaces: [eth0, eth1]"))
    assert diverting(daemon) == both("eth0", "eth1")
    reload(daemon, policy("", TAG, "interfaces: [eth0, eth1]"))
    assert diverting(daemon) == set()
    reload(daemon, policy(frames, TAG, "interfaces: [eth0, eth1]"))
    assert diverting(daemon) == both("eth0", "eth1")
    assert daemon.status()["warnings"] == []


def test_interfaces_that_cannot_be_are_refused_and_the_running_policy_stays(
    run, wire: Wire
) -> None:
    frames = every_frame("callout-inspection", "numbered")
    daemon = run(policy(frames, TAG, ETH0))
    for interfaces, words in (
        ("[eth0, eth9]", ("no interface eth9", "ip link")),
        ("[lo]", ("loopback", "IP or transport layers")),
    ):
        message = refused(daemon, policy(frames, TAG, f"interfaces: {interfaces}"))
        assert all(word in message for word in words), message
        assert diverting(daemon) == both("eth0")
    assert "expected interfaces" in refused(daemon, policy(frames, TAG))
    before = daemon.status()["frames"]["frames"]
    assert wire.answers()
    assert daemon.status()["frames"]["frames"] > before
    assert len(wire.helpers()) == 2


@pytest.mark.parametrize("mark", ["", "mark: { mask: 0x0ff00000 }"])
def test_a_second_daemon_keeps_away_from_the_first_one_s_mark(
    run, wire: Wire, tmp_path: Path, closing, mark: str
) -> None:
    """What it sent would pass the first one's filters as the first one's own."""
    run(policy(every_frame("block", layers=BOTH[1:]), "", "mark: { mask: 0x0ffffff0 }\n" + ETH0))
    second = policy(every_frame(layers=BOTH[1:]), "", f"{mark}\nqueues: {{ first: 200 }}\n{ETH0}")
    daemon = closing(Daemon(wire.host, second, tmp_path))
    daemon.spawn()
    assert daemon.wait() == 1
    assert "by another calloutd: its helper device coo" in daemon.log
    assert not wire.answers()


def test_a_reload_keeps_away_from_another_daemon_s_mark(
    run, wire: Wire, tmp_path: Path, closing
) -> None:
    queues = "queues: { first: 200 }"
    late = closing(Daemon(wire.host, policy("", "", f"{queues}\n{ETH0}"), tmp_path)).start()
    run(policy(every_frame("block", layers=BOTH[1:]), "", ETH0))
    answer = refused(late, policy(every_frame(layers=BOTH[1:]), "", f"{queues}\n{ETH0}"))
    assert "by another calloutd: its helper device coo" in answer
    assert not wire.answers()


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("interfaces: [eth9]", "there is no interface eth9"),
        ("interfaces: [lo]", "is the loopback device"),
        ("mark: { mask: off }\ninterfaces: [eth0]", "need bits of the mark"),
    ],
)
def test_a_start_that_cannot_be_says_why(
    wire: Wire, tmp_path, closing, head: str, words: str
) -> None:
    daemon = closing(Daemon(wire.host, policy(every_frame(), "", head), tmp_path))
    daemon.spawn()
    assert daemon.wait() == 1
    assert words in daemon.log
    assert wire.helpers() == []


def test_an_interface_that_goes_and_comes_again_is_diverted_again(run, wire: Wire) -> None:
    frames = every_frame("callout-inspection", "numbered")
    daemon = run(policy(frames, TAG, ETH0))
    wire.host.run("ip", "link", "del", "eth0")
    wait_for(lambda: diverting(daemon) == set(), "the ports have gone")
    wait_for(lambda: wire.helpers() == [], "the helpers have gone")
    assert any("eth0 has gone" in each for each in daemon.status()["warnings"])
    # A reload is not refused for it.
    reload(daemon, policy(frames, TAG, ETH0))
    for _ in range(3):
        link(wire.host, "eth0", wire.peer, "eth0", 0)
        wait_for(lambda: diverting(daemon) == both("eth0"), "the new one is diverted")
        wire.host.run("ip", "link", "del", "eth0")
        wait_for(lambda: diverting(daemon) == set(), "it has gone, too")
    link(wire.host, "eth0", wire.peer, "eth0", 0)
    wait_for(lambda: diverting(daemon) == both("eth0"), "the last one is diverted")
    assert len(daemon.status()["ports"]) == 4
    assert daemon.status()["warnings"] == []
    before = daemon.status()["frames"]["frames"]
    wait_for(wire.answers, "the new one carries frames")
    assert daemon.status()["frames"]["frames"] > before


def test_a_renamed_interface_goes_on_until_another_takes_its_name(run, wire: Wire) -> None:
    daemon = run(policy(every_frame("callout-inspection", "numbered"), TAG, ETH0))
    wire.host.run("ip", "link", "set", "eth0", "name", "lan0")
    wait_for(lambda: diverting(daemon) == both("lan0"), "the new name is known")
    before = daemon.status()["frames"]["frames"]
    assert wire.answers()
    assert daemon.status()["frames"]["frames"] > before
    link(wire.host, "eth0", wire.peer, "eth1", 1)
    wait_for(lambda: diverting(daemon) == both("eth0"), "the other one is diverted instead")
    assert wire.answers()


def test_a_helper_that_somebody_sets_down_is_replaced(run, wire: Wire) -> None:
    daemon = run(policy(every_frame("callout-inspection", "numbered"), TAG, ETH0))
    name = min(wire.helpers())
    old = wire.host.out("ip", "-o", "link", "show", name).split(":")[0]

    def replaced() -> bool:
        line = wire.host.run("ip", "-o", "link", "show", "up", name, check=False).stdout
        return line != "" and line.split(":")[0] != old

    wire.host.run("ip", "link", "set", name, "down")
    wait_for(replaced, "another helper")
    wait_for(lambda: diverting(daemon) == both("eth0"), "both directions are diverted again")
    before = daemon.status()["frames"]["frames"]
    assert wire.answers()
    assert daemon.status()["frames"]["frames"] > before


def test_rules_remove_removes_helpers_that_nobody_holds(run, wire: Wire) -> None:
    daemon = run(policy(every_frame(), "", ETH0))
    wire.host.run("ip", "tuntap", "add", "coi4711", "mode", "tap")
    held = set(wire.helpers()) - {"coi4711"}
    done = wire.host.run(CALLOUTD, "rules", "remove", "--table", "other")
    assert "removed the device coi4711" in done.stdout
    assert set(wire.helpers()) == held
    assert diverting(daemon) == both("eth0")
    assert wire.answers()


def test_the_capabilities_of_the_unit_suffice(wire: Wire, tmp_path, closing) -> None:
    line = next(each for each in UNIT.read_text().splitlines() if "BoundingSet=" in each)
    names = [name.removeprefix("CAP_").lower() for name in line.partition("=")[2].split()]
    text = policy(every_frame("callout-inspection", "numbered"), TAG, ETH0)
    daemon = closing(Daemon(wire.host, text, tmp_path))
    bounds = ",".join(["-all", *(f"+{name}" for name in names)])
    daemon.spawn("setpriv", f"--bounding-set={bounds}", "--no-new-privs")
    wait_for(daemon._is_running, "calloutd runs")
    assert diverting(daemon) == both("eth0")
    assert wire.answers()


def test_metrics_tell_of_frames_and_ports(run, wire: Wire) -> None:
    head = f"{ETH0}\nmetrics: {{ listen: 127.0.0.1:9469 }}"
    run(policy(every_frame("callout-inspection", "numbered"), TAG, head))
    assert wire.answers()
    text = wire.host.out("curl", "-sf", "http://127.0.0.1:9469/metrics")
    port = r'index="\d+",interface="eth0"'
    for pattern in (
        r"callout_frames_total [1-9]\d*",
        r"callout_frames_injected_total 0",
        r'callout_frame_verdicts_total{verdict="permit"} [1-9]\d*',
        rf'callout_port_diverted_total{{direction="outbound",{port}}} [1-9]\d*',
        rf'callout_port_lost_total{{direction="inbound",{port},kind="ring-full"}} 0',
        rf'callout_port_diverting{{direction="inbound",{port}}} 1',
    ):
        assert re.search(f"^{pattern}$", text, re.MULTILINE), pattern


def test_rules_that_are_not_ours_are_not_missed_by_frames(run, wire: Wire) -> None:
    daemon = run(policy(every_frame(), "", f"{ETH0}\nrules: {{ manage: false }}"))
    assert wire.answers()
    assert daemon.status()["warnings"] == []
    assert daemon.status()["frames"]["permitted"] > 0


def test_status_as_json_has_the_frames(run, wire: Wire) -> None:
    daemon = run(policy(every_frame("block", "", BOTH[:1]), "", ETH0))
    assert not wire.answers()
    status = json.loads(daemon.ctl("status", "--json").stdout)
    assert status["frames"]["blocked"] > 0
    assert [port["direction"] for port in status["ports"]] == ["inbound"]
    assert status["ports"][0]["dropped"] > 0
