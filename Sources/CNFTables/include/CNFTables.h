// SPDX-License-Identifier: Apache-2.0
// The fence to libnftnl: what FirewallRules calls, and what Swift cannot import by itself.
#pragma once

#include <netinet/in.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <linux/fib_rules.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_CONNMARK.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>

enum {
  /// Bytes of the NFQUEUE target's payload: the kernel demands XT_ALIGN(sizeof struct) exactly.
  CNF_QUEUE_TARGET_SIZE = 8,
  /// The revision of `struct xt_NFQ_info_v3`.
  CNF_QUEUE_TARGET_REVISION = 3,
};

/// Fills `info` (CNF_QUEUE_TARGET_SIZE bytes) for queues `first` to `first + total - 1`.
void cnf_queue_target_info(uint8_t *info, uint16_t first, uint16_t total, bool bypass);

/// Opens a close-on-exec netlink socket of `bus` (NETLINK_NETFILTER, NETLINK_ROUTE) bound to a port
/// the kernel chooses, with extended acks and a five second receive limit. Returns the descriptor
/// or a negated errno. `struct sockaddr_nl` needs a cast that strict Swift makes clumsy.
int cnf_netlink_open(int bus);
