# SPDX-License-Identifier: Apache-2.0
"""TCP through the host while the kernel decides static filters and only DNS is asked of a callout."""

from __future__ import annotations

from build import OUTPUT
from frames import NOTHING, Side, bulk_rate, in_turn, peer
from report import Entry
from subjects import RELEASE, SOCKET
from workbench import Workbench

POLICY = """\
mark:       { mask: 0x3fffff00, ignore-conflicts: true }
queues:     { first: 31000, on-failure: permit }
rules:      { kernel-filters: auto }
lifecycle:  { source: verdicts }
callouts:
  - { name: bench-tags, type: tag, context: sequence }
filters:
  - name: dns
    layer: outbound-transport-v4
    conditions:
      - { field: ip-protocol, match: equal, value: udp }
      - { field: ip-remote-port, match: equal, value: 53 }
    action: callout-unknown
    callout: bench-tags
"""
FILTER = """\
  - name: static {number}
    layer: {layer}
    conditions:
      - {{ field: ip-protocol, match: equal, value: tcp }}
      - {{ field: ip-remote-address, match: prefix, value: 172.{high}.{low}.0/24 }}
      - {{ field: ip-remote-port, match: range, value: [{first}, {last}] }}
    action: {action}
"""
RELEASING = """\
  - { name: first-three, type: inspect, packets-per-flow: 3 }
"""
EVERY_FLOW = """\
  - { name: LAYER, layer: LAYER, action: callout-inspection, callout: first-three }
"""
LAYERS = ("outbound-transport-v4", "inbound-transport-v4")


def static_daemon(count: int, releases: bool = False) -> Side:
    """The daemon with so many static filters and one callout that wants DNS only.

    Or with another that sees the first three packets of each flow.
    """
    text = POLICY
    if releases:
        text = text.replace("filters:\n", RELEASING + "filters:\n")
        text += "".join(EVERY_FLOW.replace("LAYER", layer) for layer in LAYERS)
    for number in range(count):
        first = 1000 + number % 40 * 100
        text += FILTER.format(
            number=number,
            layer=LAYERS[number % 2],
            high=16 + number // 256,
            low=number % 256,
            first=first,
            last=first + 500,
            action="block" if number % 3 else "permit",
        )
    policy = OUTPUT / ("flow-bypass.yaml" if releases else "kernel-filters.yaml")
    policy.write_text(text)
    words = [str(RELEASE / "calloutd"), "run", "--config", str(policy), "--socket", SOCKET]
    return Side("calloutd", words)


def kernel_filters_tcp(bench: Workbench) -> list[Entry]:
    """Bulk data past 1,000 static filters of which none matches."""
    with peer():
        sides = [static_daemon(1000), Side("no-rules", NOTHING.words)]
        return in_turn(bench, "kernel-filters/tcp", sides, "bits per second", bulk_rate)


def kernel_filters_tcp_bypass(bench: Workbench) -> list[Entry]:
    """The same while a callout sees the first three packets of each flow."""
    with peer():
        sides = [static_daemon(1000, releases=True), Side("no-rules", NOTHING.words)]
        return in_turn(bench, "kernel-filters/tcp-bypass", sides, "bits per second", bulk_rate)
