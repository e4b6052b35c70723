// SPDX-License-Identifier: Apache-2.0
// GNU-only calls and Linux structures that Swift's Glibc module leaves out.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/// Same layout as the kernel's `struct mmsghdr`.
struct clx_mmsghdr {
  struct msghdr header;
  unsigned int length;
};

/// Asks the processor for the cache line at `address`, to be written soon.
static inline void clx_prefetch(const void *address) { __builtin_prefetch(address, 1); }

int clx_recvmmsg(int fd, struct clx_mmsghdr *messages, unsigned int count, int flags);
int clx_eventfd(void);

/// open(2) for writing, made or emptied; variadic, so Swift cannot call it.
int clx_create(const char *path, mode_t mode);

/// A new file in the place of what is at `path`, for its owner alone; open for writing.
int clx_create_private(const char *path);

/// Opens the file at `path`, made if need be, and locks it for good; EWOULDBLOCK if another has.
int clx_open_locked(const char *path);

/// Opens a file for reading, if it is a plain one that nobody but its owner can write, and that is this
/// user's or root's; EPERM if not.
int clx_open_private(const char *path);

/// Opens the root of the second version's control groups by a mount of our own; -1 with errno.
int clx_open_cgroup_root(void);
int clx_thread_name(pthread_t thread, const char *name);
int clx_effective_capabilities(uint64_t *mask);
int clx_sched_setaffinity(int cpu);

/// Forces the receive buffer past `rmem_max` (needs CAP_NET_ADMIN), else asks politely.
int clx_force_receive_buffer(int fd, int bytes);
int clx_force_send_buffer(int fd, int bytes);
int clx_receive_buffer(int fd);

/// Tells this thread's network namespace by its inode; -1 with errno.
int clx_network_namespace(uint32_t *inode);

/// Whether the network device of that index is there and up.
bool clx_is_device_up(uint32_t index);

/// A raw socket that takes whole IP packets; `family` is AF_INET or AF_INET6.
int clx_raw_ip_socket(int family);
int clx_set_mark(int fd, uint32_t mark);
ssize_t clx_send_raw_ipv4(int fd, const void *bytes, size_t length, uint32_t destination_be);
ssize_t clx_send_raw_ipv6(int fd, const void *bytes, size_t length, const uint8_t destination[16]);

/// A listening Unix stream socket whose file has `mode` from the start.
int clx_unix_listen(const char *path, mode_t mode);
/// A Unix socket of `type` connected to `path`; a leading '@' names an abstract address.
int clx_unix_connect(const char *path, int type);
/// The user at the other end of a connected Unix socket, -1 if it cannot be told.
int64_t clx_peer_user(int fd);
/// Whether `path` itself (no link followed) is a socket.
bool clx_is_socket(const char *path);
int clx_close_on_exec(int fd);
/// `send` that returns EPIPE instead of raising SIGPIPE.
ssize_t clx_send_quietly(int fd, const void *bytes, size_t length);
void clx_ignore_broken_pipes(void);

#include "CLinuxFrames.h"

/// A function of the kernel's, by the low half of its address.
struct clx_symbol {
  uint32_t address;
  char name[128];
};

/// The last function of a file like /proc/kallsyms that begins at or before a place.
bool clx_find_symbol(const char *path, uint32_t place, struct clx_symbol *found);
