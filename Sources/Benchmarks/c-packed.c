// SPDX-License-Identifier: Apache-2.0
// Baseline: the best loop known to us in C. recvmmsg takes what is there, up to --batch messages,
// and all their verdicts, each with a mark of its own, go out in one flat buffer with one send.
#define _GNU_SOURCE
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "queue-common.h"

/// Tuned on 6.18: within 3 % of the best of 16 to 512 at every depth of backlog but one, and there
/// it is 1.1 times what 64 gives.
enum { DEFAULT_BATCH = 384 };

struct batch {
  unsigned int capacity;
  struct mmsghdr *messages;
  struct iovec *slots;
  char *received;
  char *verdicts;
};

static struct batch make_batch(const struct options *options) {
  struct batch batch = {.capacity = options->batch ? options->batch : DEFAULT_BATCH};
  // An odd number of cache lines: slots a power of two apart would all fall in the same sets.
  const size_t lines = ((options->copy_range + MESSAGE_OVERHEAD + 63) / 64) | 1;
  const size_t stride = lines * 64;
  batch.messages = calloc(batch.capacity, sizeof *batch.messages);
  batch.slots = calloc(batch.capacity, sizeof *batch.slots);
  batch.received = aligned_alloc(64, batch.capacity * stride);
  batch.verdicts = malloc((size_t)batch.capacity * VERDICT_LENGTH);
  if (!batch.messages || !batch.slots || !batch.received || !batch.verdicts) { exit(1); }
  for (unsigned int index = 0; index < batch.capacity; index++) {
    batch.slots[index] = (struct iovec){batch.received + index * stride, stride};
    batch.messages[index].msg_hdr.msg_iov = &batch.slots[index];
    batch.messages[index].msg_hdr.msg_iovlen = 1;
  }
  return batch;
}

/// Fills the verdict buffer from the first `count` slots. Returns its length in bytes.
static size_t settle(const struct batch *batch, unsigned int count, const struct options *options,
                     struct counters *counters) {
  size_t used = 0;
  for (unsigned int index = 0; index < count; index++) {
    // A packet message is one datagram: nothing follows it.
    const struct nlmsghdr *header = batch->slots[index].iov_base;
    struct packet packet;
    if (!mnl_nlmsg_ok(header, (int)batch->messages[index].msg_len)) {
      counters->malformed += 1;
      continue;
    }
    if (!read_packet(header, &packet, counters)) { continue; }
    counters->packets += 1;
    put_verdict(batch->verdicts + used, options->queue, packet.id,
                tagged(options, packet.mark, counters->packets));
    used += VERDICT_LENGTH;
  }
  return used;
}

int main(int argc, char **argv) {
  const struct options options = parse_options(argc, argv);
  struct batch batch = make_batch(&options);
  const int socket_number = open_queue(&options);

  struct counters counters = {0};
  while (!stopping) {
    int count = recvmmsg(socket_number, batch.messages, batch.capacity, MSG_WAITFORONE, NULL);
    if (count < 0) {
      if (errno == EINTR) { continue; }
      perror("recvmmsg");
      return 1;
    }
    counters.receives += 1;
    size_t used = settle(&batch, (unsigned int)count, &options, &counters);
    if (used > 0 && send(socket_number, batch.verdicts, used, 0) < 0) { counters.errors += 1; }
  }
  report(&counters);
  free(batch.verdicts);
  free(batch.received);
  free(batch.slots);
  free(batch.messages);
  return 0;
}
