// SPDX-License-Identifier: Apache-2.0
// Baseline: a packed loop in C. recvmmsg takes what is there, up to --batch messages, and all their
// verdicts, each with a mark of its own, go out in one flat buffer with one send. With --bite, as
// calloutd does it, the messages of a batch are received so many at a time, into the same slots.
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
  unsigned int slot_count;
  struct mmsghdr *messages;
  struct iovec *slots;
  char *received;
  char *verdicts;
};

static struct batch make_batch(const struct options *options) {
  struct batch batch = {.capacity = options->batch ? options->batch : DEFAULT_BATCH};
  batch.slot_count = options->bite && options->bite < batch.capacity ? options->bite : batch.capacity;
  // An odd number of cache lines: slots a power of two apart would all fall in the same sets.
  const size_t lines = ((options->copy_range + MESSAGE_OVERHEAD + 63) / 64) | 1;
  const size_t stride = lines * 64;
  batch.messages = calloc(batch.slot_count, sizeof *batch.messages);
  batch.slots = calloc(batch.slot_count, sizeof *batch.slots);
  batch.received = aligned_alloc(64, batch.slot_count * stride);
  // The last bite of a batch may be a whole one.
  batch.verdicts = malloc((size_t)(batch.capacity + batch.slot_count) * VERDICT_LENGTH);
  if (!batch.messages || !batch.slots || !batch.received || !batch.verdicts) { exit(1); }
  for (unsigned int index = 0; index < batch.slot_count; index++) {
    batch.slots[index] = (struct iovec){batch.received + index * stride, stride};
    batch.messages[index].msg_hdr.msg_iov = &batch.slots[index];
    batch.messages[index].msg_hdr.msg_iovlen = 1;
  }
  return batch;
}

/// Adds the verdicts of the first `count` slots behind the first `used` bytes of the verdict buffer.
/// Returns how many are used then.
static size_t settle(const struct batch *batch, size_t used, unsigned int count,
                     const struct options *options, struct counters *counters) {
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
    size_t used = 0;
    unsigned int total = 0;
    int count = 0;
    do {
      const int flags = total == 0 ? MSG_WAITFORONE : MSG_DONTWAIT;
      count = recvmmsg(socket_number, batch.messages, batch.slot_count, flags, NULL);
      if (count < 0) {
        if (errno == EINTR || errno == EAGAIN) { break; }
        perror("recvmmsg");
        return 1;
      }
      counters.receives += 1;
      used = settle(&batch, used, (unsigned int)count, &options, &counters);
      total += (unsigned int)count;
    } while ((unsigned int)count == batch.slot_count && total < batch.capacity);
    if (used > 0 && send(socket_number, batch.verdicts, used, 0) < 0) { counters.errors += 1; }
  }
  report(&counters);
  free(batch.verdicts);
  free(batch.received);
  free(batch.slots);
  free(batch.messages);
  return 0;
}
