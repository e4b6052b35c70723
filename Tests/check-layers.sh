#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks the rules of the module tree that no compiler checks: who may import what, where pointers
# may be held, how long a file may be.
set -eu
cd "$(dirname "$0")/.."
failures=0
complain() {
  printf '%s\n' "$1" >&2
  failures=$((failures + 1))
}

# Each module with its tier, as Package.swift's comments name them.
tiers='CNetfilter 0  CNFTables 0  CLinux 0  CLibBPF 0
Kernel 1  PacketViews 1  CalloutControl 1
NetfilterQueue 2  LinkLayer 2  PacketTagging 2  FirewallRules 2  CaptureFiles 2
ConnectionTracking 2  SocketOwners 2
CalloutEngine 3  CalloutLifecycle 4  CalloutBridge 5  calloutd 6  calloutctl 6  frame-batches 6
filter-cost 6'

# What a target depends on is of a lower tier; packages from tier 5 on, but Subprocess for rules.
if ! swift package dump-package | TIERS="$tiers" /usr/bin/python3 -c '
import json, os, sys
words = os.environ["TIERS"].split()
tiers = dict(zip(words[::2], map(int, words[1::2])))
allowed = {("FirewallRules", "Subprocess"), ("CalloutBridge", "Logging")}
problems = []
for target in json.load(sys.stdin)["targets"]:
    name = target["name"]
    if target["type"] == "test" or (target.get("path") or "").startswith("Tests/"):
        continue
    if name not in tiers:
        problems.append(f"Package.swift: {name} has no tier in Tests/check-layers.sh")
        continue
    for dependency in target["dependencies"]:
        if "product" in dependency:
            product = dependency["product"][0]
            if tiers[name] < 6 and (name, product) not in allowed:
                problems.append(f"Package.swift: {name} may not use the package product {product}")
            continue
        other = (dependency.get("byName") or dependency.get("target"))[0]
        if tiers.get(other, 9) >= tiers[name]:
            problems.append(f"Package.swift: {name} may not depend on {other}: not of a lower tier")
print("\n".join(problems), end="\n" if problems else "", file=sys.stderr)
sys.exit(bool(problems))
'; then failures=$((failures + 1)); fi

# matches PATTERN ALLOWED: lines of Swift sources that match, outside the files that ALLOWED names.
matches() {
  grep -rnE --include='*.swift' "$1" Sources | grep -vE "^($2)" || true
}

# forbid WHAT PATTERN ALLOWED
forbid() {
  found=$(matches "$2" "$3")
  if [ -n "$found" ]; then complain "$1:
$found"; fi
}

fence='Sources/(Kernel|NetfilterQueue|LinkLayer|CalloutLifecycle)/'
fence="$fence|Sources/FirewallRules/(NFTransaction(\+Maps)?|NetlinkSocket)\.swift:"
fence="$fence|Sources/PacketViews/[A-Za-z]+\+Network\.swift:"
forbid 'unsafe outside the fence' '^[^/]*(^|[^[:alnum:]_`.])unsafe([^[:alnum:]_]|$)' "$fence"
forbid 'an escape from the concurrency checks outside the fence' \
  '@unchecked Sendable|nonisolated\(unsafe\)' 'Sources/Kernel/'
forbid 'CNetfilter is for NetfilterQueue' 'import +CNetfilter' 'Sources/NetfilterQueue/'
forbid 'CNFTables is for FirewallRules' 'import +CNFTables' 'Sources/FirewallRules/'
forbid 'CLinux is for the edge modules' 'import +CLinux' 'Sources/(Kernel|NetfilterQueue|LinkLayer)/'
forbid 'C modules are not re-exported' \
  '(public|package|@_exported) +import +C(Netfilter|NFTables|Linux|LibBPF)' 'none'

long=$(find Sources -type f \( -name '*.swift' -o -name '*.[ch]' -o -name '*.py' -o -name '*.sh' \) \
  -exec awk 'FNR == 401 { print FILENAME }' {} +)
if [ -n "$long" ]; then complain "longer than 400 lines:
$long"; fi

if [ "$failures" -gt 0 ]; then
  printf 'layers: %s rules broken\n' "$failures" >&2
  exit 1
fi
echo 'layers: fine'
