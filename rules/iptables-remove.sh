#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Takes back what iptables.v4.rules and iptables.v6.rules (or calloutd with "backend: iptables") have
# put in: the jumps, then our chains. Other rules stay. Nothing is unhooked by this, so no waiting
# packet of any queue is lost. May be run when there is nothing to remove.
#
#   rules/iptables-remove.sh                       both families, the front end that iptables is
#   IPTABLES=iptables-legacy IP6TABLES=ip6tables-legacy rules/iptables-remove.sh
set -u

for program in "${IPTABLES:-iptables}" "${IP6TABLES:-ip6tables}"; do
  command -v "$program" >/dev/null 2>&1 || continue
  for hook in PREROUTING INPUT FORWARD OUTPUT POSTROUTING; do
    while "$program" -w -t mangle -D "$hook" -j "CALLOUT-$hook" 2>/dev/null; do :; done
    "$program" -w -t mangle -F "CALLOUT-$hook" 2>/dev/null
    "$program" -w -t mangle -X "CALLOUT-$hook" 2>/dev/null
  done
done
exit 0
