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
    "cap-bpf",
}  # fmt: skip


def probe(space: Namespace, *prefix: str, program: str = CALLOUTD) -> dict[str, dict]:
    """The features by name."""
    lines = space.out(*prefix, program, "probe", "--json").splitlines()
    records = [json.loads(line) for line in lines]
    assert len({each["name"] for each in records}) == len(records)
    return {each["name"]: each for each in records}


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
    features = probe(net.host)
    lines = net.host.out(CALLOUTD, "probe").splitlines()
    assert len(lines) == len(features)
    for line in lines:
        feature = features[line.split()[0]]
        assert line.split()[1].rstrip(":") == feature["support"]
        for key in ("reason", "remedy"):
            assert feature.get(key, "") in line


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
