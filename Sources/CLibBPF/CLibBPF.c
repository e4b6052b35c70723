// SPDX-License-Identifier: Apache-2.0
#include "CLibBPF.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int clb_make_array(const char *name, uint32_t value_size, uint32_t entries) {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
  return bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t), value_size, entries, &options);
}

int clb_make_gate(const char *name) {
  return bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, name, sizeof(uint32_t), sizeof(uint32_t), 1, NULL);
}

int clb_open_gate(int gate, int program) {
  uint32_t first = 0;
  return bpf_map_update_elem(gate, &first, &program, BPF_ANY);
}

int clb_shut_gate(int gate) {
  uint32_t first = 0;
  return bpf_map_delete_elem(gate, &first);
}

enum { NAME_SIZE = 64 };

/// Takes the first name from a list; false with errno if it is too long.
static bool take_name(const char **names, char name[NAME_SIZE]) {
  size_t length = strcspn(*names, " ");
  if (length >= NAME_SIZE) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(name, *names, length);
  name[length] = 0;
  *names += length + ((*names)[length] == ' ');
  return true;
}

/// The program that a list of names begins with, and goes past it; NULL with errno.
static struct bpf_program *next_program(struct bpf_object *object, const char **names) {
  char name[NAME_SIZE];
  return take_name(names, name) ? bpf_object__find_program_by_name(object, name) : NULL;
}

/// Readies the object so that loading it loads the wanted programs; -1 with errno.
static int prepare(struct bpf_object *object, const struct clb_request *request) {
  struct bpf_program *program;
  bpf_object__for_each_program(program, object) bpf_program__set_autoload(program, false);
  for (const char *rest = request->programs; *rest;) {
    if (!(program = next_program(object, &rest))) return -1;
    bpf_program__set_autoload(program, true);
  }
  const char *rest = request->maps;
  for (size_t index = 0; *rest && index < CLB_MAPS; index++) {
    char name[NAME_SIZE];
    struct bpf_map *map =
        take_name(&rest, name) ? bpf_object__find_map_by_name(object, name) : NULL;
    if (!map || bpf_map__reuse_fd(map, request->map_descriptors[index]) < 0) return -1;
  }
  struct bpf_map *settings = bpf_object__find_map_by_name(object, ".rodata");
  if (!settings) return -1;
  return bpf_map__set_initial_value(settings, request->settings, request->settings_size);
}

/// Makes descriptors that outlive the object; -1 with errno.
static int keep_programs(struct bpf_object *object, const struct clb_request *request) {
  size_t count = 0;
  for (const char *rest = request->programs; *rest; count++) {
    int kept = fcntl(bpf_program__fd(next_program(object, &rest)), F_DUPFD_CLOEXEC, 3);
    if (kept < 0) {
      int saved = errno;
      while (count-- > 0) close(request->descriptors[count]);
      errno = saved;
      return -1;
    }
    request->descriptors[count] = kept;
  }
  return 0;
}

int clb_load(const struct clb_request *request) {
  libbpf_set_print(NULL);
  struct bpf_object *object =
      bpf_object__open_mem(request->object, request->object_size, NULL);
  if (!object) return -1;
  int result = prepare(object, request);
  if (result == 0) result = bpf_object__load(object) == 0 ? 0 : -1;
  if (result == 0) result = keep_programs(object, request);
  int saved = errno;
  bpf_object__close(object);
  errno = saved;
  return result;
}

int clb_attach(int program) { return bpf_raw_tracepoint_open(NULL, program); }

int clb_attach_to_cgroup(int program, int cgroup) {
  return bpf_link_create(program, cgroup, BPF_CGROUP_INET_INGRESS, NULL);
}

int clb_attach_to_device(int program, uint32_t device, bool outbound) {
  // Newer than Debian 12's headers, under the kernel's numbers.
  enum { TCX_INGRESS = 46, TCX_EGRESS = 47, BEFORE = 1 << 3 };
  LIBBPF_OPTS(bpf_link_create_opts, options, .flags = BEFORE);
  return bpf_link_create(program, (int)device,
                         (enum bpf_attach_type)(outbound ? TCX_EGRESS : TCX_INGRESS), &options);
}

int clb_make_clsact(uint32_t device) {
  libbpf_set_print(NULL);
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)device,
              .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
  return bpf_tc_hook_create(&hook) < 0 ? -1 : 0;
}

int clb_remove_clsact(uint32_t device) {
  libbpf_set_print(NULL);
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)device,
              .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
  return bpf_tc_hook_destroy(&hook) < 0 ? -1 : 0;
}

int clb_add_filter(const struct clb_filter *filter, int program) {
  libbpf_set_print(NULL);
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)filter->device,
              .attach_point = filter->outbound ? BPF_TC_EGRESS : BPF_TC_INGRESS);
  LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program, .handle = filter->handle,
              .priority = filter->priority);
  return bpf_tc_attach(&hook, &options) < 0 ? -1 : 0;
}

int clb_remove_filter(const struct clb_filter *filter) {
  libbpf_set_print(NULL);
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)filter->device,
              .attach_point = filter->outbound ? BPF_TC_EGRESS : BPF_TC_INGRESS);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = filter->handle, .priority = filter->priority);
  return bpf_tc_detach(&hook, &options) < 0 ? -1 : 0;
}

int clb_each_enumerator(const char *name, void *context,
                        void (*body)(void *, uint32_t, const char *)) {
  libbpf_set_print(NULL);
  struct btf *btf = btf__load_vmlinux_btf();
  if (!btf) return -1;
  int number = btf__find_by_name_kind(btf, name, BTF_KIND_ENUM);
  const struct btf_type *type = number > 0 ? btf__type_by_id(btf, (uint32_t)number) : NULL;
  if (type) {
    const struct btf_enum *values = btf_enum(type);
    for (int index = 0; index < btf_vlen(type); index++)
      body(context, (uint32_t)values[index].val,
           btf__name_by_offset(btf, values[index].name_off));
  }
  btf__free(btf);
  if (!type) errno = ENOENT;
  return type ? 0 : -1;
}
