// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CLinux.h"

/// Splits `ffffffff81a00000 T name	[module]`; false for all but functions.
static bool split(char *line, uint64_t *address, char **name) {
  char *end;
  *address = strtoull(line, &end, 16);
  if (end - line != 16 || end[0] != ' ' || !end[1] || !strchr("tTwW", end[1]) || end[2] != ' ')
    return false;
  *name = end + 3;
  (*name)[strcspn(*name, " \t\n")] = 0;
  return **name != 0;
}

bool clx_find_symbol(const char *path, uint32_t place, struct clx_symbol *found) {
  FILE *file = fopen(path, "re");
  if (!file) return false;
  char *line = NULL, *name;
  size_t size = 0;
  uint64_t address, text = 0;
  found->name[0] = 0;
  while (getline(&line, &size, file) > 0) {
    if (!split(line, &address, &name)) continue;
    if (!text && !strcmp(name, "_stext")) text = address;
    // The kernel's code lies in the 4 GiB of its first function.
    if (!text || address >> 32 != text >> 32 || (uint32_t)address > place) continue;
    if (found->name[0] && (uint32_t)address <= found->address) continue;
    found->address = (uint32_t)address;
    snprintf(found->name, sizeof found->name, "%s", name);
  }
  free(line);
  fclose(file);
  return found->name[0] != 0;
}
