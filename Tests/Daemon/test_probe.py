# SPDX-License-Identifier: Apache-2.0
"""`calloutd probe`: one line for each feature, with reason and remedy; nothing is changed."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from daemon import CALLOUTD, rules_of
from netns import Namespace
from nfqueue import queue_status

FEATURES = {
    "cap-net-admin", "nfqueue", "nfqueue-conntrack", "rules-nft", "rules-nft-compat",
    "rules-iptables", "mark-field", "inject-ipv4", "inject-ipv6", "observe-sent",
    "observe-dropped", "observe-freed", "observe-reached", "observe-read", "observe-copies",
    "cap-bpf", "frame-divert", "frame-priority", "vswitch-ethernet",
}  # fmt: skip


def lines(space: Namespace) -> list[dict]:
    """All lines of `--json`."""
    return [json.loads(line) for line in space.out(CALLOUTD, "probe", "--json").splitlines()]


def probe(space: Namespace, *prefix: str, program: str = CALLOUTD) -> dict[str, dict]:
    """The kernel's features by name."""
    records = map(json.loads, space.out(*prefix, program, "probe", "--json").splitlines())
    kernel = [each for each in records if "interface" not in each]
    assert len({each["name"] for each in kernel}) == len(kernel)
    return {each["name"]: each for each in kernel}


def test_probe_json_has_a_line_for_each_feature_and_changes_nothing(net) -> None:
    features = probe(net.host)
    assert set(features) >= FEATURES
    for feature in features.values():
        assert feature["support"] in ("supported", "unsupported", "unknown")
        if feature["support"] == "unsupported":
            assert feature["reason"] and feature["remedy"], feature
        if feature["support"] == "unknown":
            assert feature["reason"], feature
    assert features["nfqueue"]["support"] == "supported"
    assert rules_of(net.host) == {"chains": {}, "rules": 0}
    assert queue_status(net.host) == {}


def test_probe_text_says_the_same(net) -> None:
    features = lines(net.host)
    texts = net.host.out(CALLOUTD, "probe").splitlines()
    assert len(texts) == len(features)
    for text, feature in zip(texts, features, strict=True):
        words = text.split()
        assert words.pop(0) == feature["name"]
        if "interface" in feature:
            assert words.pop(0) == feature["interface"]
        assert words[0].rstrip(":") == feature["support"]
        for key in ("reason", "remedy"):
            assert feature.get(key, "") in text


def test_probe_says_which_mac_layers_each_interface_can_have(net) -> None:
    net.host.run("ip", "tuntap", "add", "raw0", "mode", "tun")
    try:
        records = [each for each in lines(net.host) if "interface" in each]
    finally:
        net.host.run("ip", "tuntap", "del", "raw0", "mode", "tun")
    found = {(each["interface"], each["name"]): each for each in records}
    assert len(found) == len(records) == 8
    divert = probe(net.host)["frame-divert"]["support"]
    for name in ("inside", "outside"):
        for layer in ("mac-frame-ethernet", "mac-frame-native"):
            assert found[name, layer]["support"] == divert
    assert found["raw0", "mac-frame-native"]["support"] == divert
    for pair in (("raw0", "mac-frame-ethernet"), ("lo", "mac-frame-native")):
        assert found[pair]["support"] == "unsupported"
        assert pair[0] in found[pair]["reason"] and found[pair]["remedy"]
    # Nothing is left of what was tried.
    assert " co" not in net.host.out("ip", "-o", "link")


def test_probe_agrees_with_nft_about_the_queue_statement(net) -> None:
    rule = "table inet t { chain c {\n queue flags bypass to 1\n }\n }"
    accepts = net.host.run("nft", "-c", "-f", "-", stdin=rule, check=False).returncode == 0
    assert (probe(net.host)["rules-nft"]["support"] == "supported") == accepts


def test_probe_names_the_rules_that_use_up_the_mark(net) -> None:
    net.host.run("ip", "rule", "add", "fwmark", "0xca6c", "lookup", "main")
    try:
        feature = probe(net.host)["mark-field"]
    finally:
        net.host.run("ip", "rule", "del", "fwmark", "0xca6c")
    assert feature["support"] == "unsupported"
    assert "0xca6c" in feature["reason"]


def test_probe_without_privilege_says_what_is_missing(net) -> None:
    public = Path(tempfile.mkdtemp(prefix="callout-public-"))
    try:
        public.chmod(0o755)
        program = shutil.copy(CALLOUTD, public / "calloutd")
        nobody = ["setpriv", "--reuid=nobody", "--clear-groups", "--inh-caps=-all"]
        features = probe(net.host, *nobody, program=str(program))
    finally:
        shutil.rmtree(public)
    assert features["cap-net-admin"]["support"] == "unsupported"
    assert "CAP_NET_ADMIN" in features["cap-net-admin"]["reason"]
    assert "root" in features["cap-net-admin"]["remedy"]
    # The iptables back end is a program that is there; the rest cannot be known or is not allowed.
    for name in ("nfqueue", "rules-nft", "rules-nft-compat", "inject-ipv4", "mark-field"):
        assert features[name]["support"] != "supported", features[name]


def test_sockets_are_observed_where_cgroup2_is_not_mounted(net) -> None:
    """As under `ip netns exec`, which lays another /sys over the mounts."""
    script = 'umount --all --types cgroup2; exec "$@"'
    features = probe(net.host, "unshare", "--mount", "sh", "-c", script, "sh")
    assert features["observe-reached"]["support"] == "supported"
