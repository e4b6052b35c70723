// SPDX-License-Identifier: Apache-2.0
#include "CNFTables.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

_Static_assert(sizeof(struct xt_NFQ_info_v3) <= CNF_QUEUE_TARGET_SIZE, "target payload grew");

void cnf_queue_target_info(uint8_t *info, uint16_t first, uint16_t total, bool bypass) {
  struct xt_NFQ_info_v3 target = {
      .queuenum = first,
      .queues_total = total,
      .flags = bypass ? NFQ_FLAG_BYPASS : 0,  // no NFQ_FLAG_CPU_FANOUT: balance by flow hash
  };
  memset(info, 0, CNF_QUEUE_TARGET_SIZE);
  memcpy(info, &target, sizeof target);
}

int cnf_netlink_open(int bus) {
  int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, bus);
  if (descriptor < 0) return -errno;
  struct sockaddr_nl any = {.nl_family = AF_NETLINK};
  struct timeval limit = {.tv_sec = 5};
  int on = 1;
  if (bind(descriptor, (struct sockaddr *)&any, sizeof any) < 0 ||
      setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0) {
    int error = errno;
    close(descriptor);
    return -error;
  }
  if (bus == NETLINK_NETFILTER) {
    // A batch of rules goes out in one message, and each part of it is answered.
    int send = 256 << 20, receive = 16 << 20;
    (void)setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &send, sizeof send);
    (void)setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof receive);
  }
  // Both only make refusals more telling; old kernels do without.
  (void)setsockopt(descriptor, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)setsockopt(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  return descriptor;
}
