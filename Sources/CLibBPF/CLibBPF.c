// SPDX-License-Identifier: Apache-2.0
#include "CLibBPF.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

int clb_make_array(const char *name, uint32_t value_size, uint32_t entries) {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
  return bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t), value_size, entries, &options);
}

/// Readies the object so that loading it loads the one program. Returns it, or NULL with errno.
static struct bpf_program *choose(struct bpf_object *object, const struct clb_request *request) {
  struct bpf_program *program, *chosen = NULL;
  bpf_object__for_each_program(program, object) {
    int is_wanted = strcmp(bpf_program__name(program), request->program) == 0;
    bpf_program__set_autoload(program, is_wanted);
    if (is_wanted) chosen = program;
  }
  struct bpf_map *sightings = bpf_object__find_map_by_name(object, "sightings");
  struct bpf_map *bearers = bpf_object__find_map_by_name(object, "bearers");
  struct bpf_map *settings = bpf_object__find_map_by_name(object, ".rodata");
  if (!chosen || !sightings || !bearers || !settings) {
    errno = ENOENT;
    return NULL;
  }
  if (bpf_map__reuse_fd(sightings, request->sightings) < 0 ||
      bpf_map__reuse_fd(bearers, request->bearers) < 0 ||
      bpf_map__set_initial_value(settings, request->settings, request->settings_size) < 0)
    return NULL;
  return chosen;
}

int clb_load(const struct clb_request *request) {
  libbpf_set_print(NULL);
  struct bpf_object *object =
      bpf_object__open_mem(request->object, request->object_size, NULL);
  if (!object) return -1;
  struct bpf_program *program = choose(object, request);
  int descriptor = -1;
  if (program && bpf_object__load(object) == 0)
    descriptor = fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 3);
  int saved = errno;
  bpf_object__close(object);
  errno = saved;
  return descriptor;
}

int clb_attach(int program) { return bpf_raw_tracepoint_open(NULL, program); }

int clb_attach_to_cgroup(int program, int cgroup) {
  return bpf_link_create(program, cgroup, BPF_CGROUP_INET_INGRESS, NULL);
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
