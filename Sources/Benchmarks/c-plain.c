// SPDX-License-Identifier: Apache-2.0
// Baseline: the loop that most NFQUEUE programs have. One receive and one send per packet; every
// packet is accepted with a mark of its own.
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "queue-common.h"

static void answer(int socket_number, const struct options *options, const char *buffer,
                   ssize_t length, struct counters *counters) {
  const struct nlmsghdr *header = (const struct nlmsghdr *)buffer;
  int rest = (int)length;
  for (; mnl_nlmsg_ok(header, rest); header = mnl_nlmsg_next(header, &rest)) {
    struct packet packet;
    if (!read_packet(header, &packet, counters)) { continue; }
    char verdict[VERDICT_LENGTH];
    put_verdict(verdict, options->queue, packet.id,
                tagged(options, packet.mark, counters->packets + 1));
    if (send(socket_number, verdict, sizeof verdict, 0) < 0) { counters->errors += 1; }
    counters->packets += 1;
  }
}

int main(int argc, char **argv) {
  const struct options options = parse_options(argc, argv);
  const size_t size = options.copy_range + MESSAGE_OVERHEAD;
  char *buffer = malloc(size);
  if (buffer == NULL) { return 1; }
  const int socket_number = open_queue(&options);

  struct counters counters = {0};
  while (!stopping) {
    ssize_t length = recv(socket_number, buffer, size, 0);
    if (length < 0) {
      if (errno == EINTR) { continue; }
      perror("recv");
      return 1;
    }
    counters.receives += 1;
    answer(socket_number, &options, buffer, length, &counters);
  }
  report(&counters);
  free(buffer);
  return 0;
}
