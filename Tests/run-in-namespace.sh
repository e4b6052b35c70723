#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a command in network and mount namespaces of its own, which vanish with it: nothing that it
# does to interfaces, rules, /run or /run/netns reaches the host.
set -eu
if [ "${CALLOUT_NETNS:-}" != 1 ]; then
  exec env CALLOUT_NETNS=1 unshare --net --mount --propagation private -- "$0" "$@"
fi
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
ip link set lo up
exec "$@"
