// SPDX-License-Identifier: Apache-2.0
// The fence to libbpf: what stays of each program that is loaded is a descriptor.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// An array map that can be mapped into memory; its descriptor, or -1 with errno.
int clb_make_array(const char *name, uint32_t value_size, uint32_t entries);

/// A map for one program, which the kernel empties when no process has it open; its descriptor, or
/// -1 with errno.
int clb_make_gate(const char *name);
int clb_open_gate(int gate, int program);
int clb_shut_gate(int gate);

enum { CLB_MAPS = 2 };

struct clb_request {
  const void *object;  ///< an ELF object
  size_t object_size;
  const char *programs;  ///< the names of those of it that are loaded, with blanks between them
  int *descriptors;      ///< filled in, one for each
  const char *maps;      ///< the names of its maps, with blanks between them
  int map_descriptors[CLB_MAPS];  ///< the maps that stand in for them, one for each
  const void *settings;  ///< the initial contents of its .rodata
  size_t settings_size;
};

/// Loads programs, all or none; 0, or -1 with errno.
int clb_load(const struct clb_request *request);

/// Attaches a program to the tracepoint that it was loaded for, as long as the descriptor that it
/// returns is open; -1 with errno.
int clb_attach(int program);

/// Attaches a program to what the sockets of a control group receive, in the same way.
int clb_attach_to_cgroup(int program, int cgroup);

/// Attaches a classifier to what a network device receives or sends, before all that is attached
/// there, in the same way; -1 with errno EINVAL on kernels without TCX (6.6).
int clb_attach_to_device(int program, uint32_t device, bool outbound);

/// A place for a classifier at a device that has a clsact queueing discipline.
struct clb_filter {
  uint32_t device;
  bool outbound;
  uint32_t priority;
  uint32_t handle;
};

/// Gives a device a clsact discipline; -1 with errno, EEXIST if it has one, or an ingress one.
int clb_make_clsact(uint32_t device);
/// Takes it away with all its filters.
int clb_remove_clsact(uint32_t device);
/// Attaches a classifier by a filter that stays until it is removed, and replaces none; -1 with
/// errno.
int clb_add_filter(const struct clb_filter *filter, int program);
int clb_remove_filter(const struct clb_filter *filter);

/// Calls `body` with each value of an enum of the running kernel; -1 with errno if there is none.
int clb_each_enumerator(const char *name, void *context,
                        void (*body)(void *context, uint32_t value, const char *name));
