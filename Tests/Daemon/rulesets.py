# SPDX-License-Identifier: Apache-2.0
"""Rulesets as other tools make them, and how these load them, load them anew, and what is theirs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netns import Namespace

FOLDER = Path(__file__).resolve().parent / "rulesets"
NOT_THEIRS = r"table (inet callout|ip6? (raw|mangle|nat|filter)) "
OWN_CHAIN = re.compile(r"CALLOUT")


@dataclass(frozen=True)
class Flow:
    """Datagrams from one namespace to an address, and where they arrive if they may."""

    source: str
    address: str
    port: int
    sink: str
    sink_port: int

    def to(self, port: int) -> Flow:
        """The same to another port, which nobody redirects."""
        return Flow(self.source, self.address, port, self.sink, port)


@dataclass(frozen=True)
class Ruleset:
    """A tool's rules: what they let through, and what they stop."""

    name: str
    load: Callable[[Namespace], None]
    reload: Callable[[Namespace], None]
    allowed: tuple[Flow, ...]
    denied: Flow
    # What they let through, and a filter of ours does not.
    ours: Flow


def _text(name: str) -> str:
    return (FOLDER / name).read_text()


def _restore(space: Namespace, name: str, *words: str) -> None:
    space.run(*words, stdin=_text(name))


def _load_docker(space: Namespace) -> None:
    _restore(space, "docker.rules", "iptables-restore")


def _reload_docker(space: Namespace) -> None:
    """Takes the jumps to its chains away one by one, then makes all anew; flushes no table."""
    table = ""
    for line in _text("docker.rules").splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif re.match(r"-A (PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) ", line):
            space.run("iptables", "-t", table, *line.replace("-A", "-D", 1).split())
    _restore(space, "docker.rules", "iptables-restore", "--noflush")


def _load_legacy(space: Namespace) -> None:
    """As at boot: each table is replaced as a whole."""
    _restore(space, "legacy.rules", "iptables-legacy-restore")


def _load_ufw(space: Namespace) -> None:
    _restore(space, "ufw-init.rules", "iptables-restore", "--noflush")
    _reload_ufw(space)


def _reload_ufw(space: Namespace) -> None:
    """Empties its own chains and fills them."""
    _restore(space, "ufw.rules", "iptables-restore", "--noflush")


def _load_firewalld(space: Namespace) -> None:
    """The table is deleted and made anew, its base chains too."""
    text = _text("firewalld.nft")
    space.run("nft", "-f", "-", stdin=f"table inet firewalld\ndelete table inet firewalld\n{text}")


OUT = Flow("client", "10.0.2.2", 7201, "server", 7201)
TO_HOST = Flow("server", "10.0.2.1", 7201, "host", 7201)
PUBLISHED = Flow("server", "10.0.2.1", 7202, "client", 7203)
UNPUBLISHED = Flow("server", "10.0.1.2", 7209, "client", 7209)

RULESETS = (
    Ruleset(
        "docker", _load_docker, _reload_docker, (OUT, PUBLISHED), UNPUBLISHED, OUT.to(7290)
    ),
    Ruleset(
        "iptables-legacy",
        _load_legacy,
        _load_legacy,
        (OUT, Flow("server", "10.0.2.1", 7202, "host", 7203)),
        TO_HOST.to(7209),
        TO_HOST.to(7290),
    ),
    Ruleset("ufw", _load_ufw, _reload_ufw, (TO_HOST,), TO_HOST.to(7209), TO_HOST.to(7290)),
    Ruleset(
        "firewalld",
        _load_firewalld,
        _load_firewalld,
        (OUT, TO_HOST, Flow("server", "10.0.2.1", 7202, "host", 7201)),
        TO_HOST.to(7209),
        TO_HOST.to(7290),
    ),
)


def _tables(text: str) -> str:
    """What `nft list ruleset` says, but for our table and for those that iptables-save shows."""
    parts = re.split(r"^(?=table )", text, flags=re.MULTILINE)
    return "".join(part for part in parts if not re.match(NOT_THEIRS, part))


def _saved(text: str) -> str:
    """What `iptables-save` says, but for counters, times and our own chains.

    A table that holds nothing is as good as none: iptables makes it at the first look.
    """
    text = re.sub(r"\[\d+:\d+\]", "[0:0]", text)
    lines = [line for line in text.splitlines() if line[:1] != "#" and not OWN_CHAIN.search(line)]
    tables = re.split(r"^(?=\*)", "\n".join(lines), flags=re.MULTILINE)
    return "".join(table for table in tables if re.search(r"^-A|^:\S+ (DROP|-)", table, re.M))


def theirs(space: Namespace) -> str:
    """All rules of this namespace that are not ours, without their counters."""
    parts = [_tables(space.out("nft", "-s", "list", "ruleset"))]
    for program in ("iptables-save", "ip6tables-save", "iptables-legacy-save"):
        parts.append(_saved(space.out(program)))
    parts += [space.out("ip", "rule"), space.out("ip", "-6", "rule")]
    return "\n".join(parts)


def clear(space: Namespace) -> None:
    """Leaves no rule of anybody's."""
    space.run("nft", "flush", "ruleset")
    for table in ("mangle", "nat", "filter"):
        space.run("iptables-legacy", "-t", table, "-F")
        space.run("iptables-legacy", "-t", table, "-X")
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        space.run("iptables-legacy", "-P", chain, "ACCEPT")
