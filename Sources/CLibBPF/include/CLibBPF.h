// SPDX-License-Identifier: Apache-2.0
// The fence to libbpf: what stays of each program that is loaded is a descriptor.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// An array map that can be mapped into memory; its descriptor, or -1 with errno.
int clb_make_array(const char *name, uint32_t value_size, uint32_t entries);

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

/// Calls `body` with each value of an enum of the running kernel; -1 with errno if there is none.
int clb_each_enumerator(const char *name, void *context,
                        void (*body)(void *context, uint32_t value, const char *name));
