// SPDX-License-Identifier: Apache-2.0
// The fence to libmnl and libnetfilter_queue.
#pragma once

#include <netinet/in.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <libnetfilter_queue/libnetfilter_queue.h>

/// Macros that Swift does not import, under the kernel's values.
enum : uint16_t {
  CNF_MESSAGE_PACKET = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET,
  CNF_MESSAGE_VERDICT = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_VERDICT,
  CNF_MESSAGE_VERDICT_BATCH = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_VERDICT_BATCH,
};

/// Attributes newer than Debian 12's headers, under the kernel's numbers.
enum : uint16_t {
  CNF_ATTRIBUTE_VLAN = 19,
  CNF_ATTRIBUTE_L2HDR = 20,
  CNF_ATTRIBUTE_PRIORITY = 21,
};

struct cnf_configuration {
  uint32_t copy_range;
  uint32_t maximum_length;
  uint32_t flags;
  uint32_t flags_mask;
};

/// A netlink socket for NFNL_SUBSYS_QUEUE, bound to a kernel-chosen port, or -1 with errno.
int cnf_open(uint32_t *port_id);

/// Sets a queue's copy range, length and flags, and binds it first if `bind` says so, in a single
/// message, so that no packet ever meets a half-configured queue.
int cnf_configure(int fd, uint16_t queue, bool bind, const struct cnf_configuration *configuration,
                  uint32_t sequence);

/// Gives the queue back to the kernel.
int cnf_unbind(int fd, uint16_t queue, uint32_t sequence);

/// Reads the errno of a refusal that the last request left at the head of the socket, 0 if none.
int cnf_take_refusal(int fd, uint32_t sequence);
