// SPDX-License-Identifier: Apache-2.0
// LD_PRELOAD shim that counts heap calls of a process in the file named by ALLOC_COUNT_FILE, mapped
// shared, so that a harness reads them at any time without disturbing the process. The layout is
// `struct counts`. Programs that the process starts count nowhere: the variable is taken out of
// the environment. glibc only: its own entry points are called, so nothing is looked up at start.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *pointer, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *pointer);

struct counts {
  _Atomic uint64_t malloc_calls;
  _Atomic uint64_t calloc_calls;
  _Atomic uint64_t realloc_calls;
  _Atomic uint64_t aligned_calls;  // aligned_alloc, posix_memalign, memalign
  _Atomic uint64_t free_calls;     // of anything but NULL
};

static struct counts local;
static _Atomic(struct counts *) counts = &local;

#define COUNT(field)                                                                        \
  atomic_fetch_add_explicit(&atomic_load_explicit(&counts, memory_order_relaxed)->field, 1, \
                            memory_order_relaxed)

__attribute__((constructor)) static void map_counters(void) {
  const char *path = getenv("ALLOC_COUNT_FILE");
  if (path == NULL) { return; }
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  unsetenv("ALLOC_COUNT_FILE");
  if (file < 0) { return; }
  if (ftruncate(file, sizeof(struct counts)) == 0) {
    void *mapped = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) { atomic_store_explicit(&counts, mapped, memory_order_relaxed); }
  }
  close(file);
}

void *malloc(size_t size) {
  COUNT(malloc_calls);
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  COUNT(calloc_calls);
  return __libc_calloc(count, size);
}

void *realloc(void *pointer, size_t size) {
  COUNT(realloc_calls);
  return __libc_realloc(pointer, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  COUNT(aligned_calls);
  return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
  COUNT(aligned_calls);
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
  if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
    return EINVAL;
  }
  COUNT(aligned_calls);
  int saved = errno;
  void *pointer = __libc_memalign(alignment, size);
  errno = saved;
  if (pointer == NULL) { return ENOMEM; }
  *result = pointer;
  return 0;
}

void free(void *pointer) {
  if (pointer != NULL) { COUNT(free_calls); }
  __libc_free(pointer);
}
