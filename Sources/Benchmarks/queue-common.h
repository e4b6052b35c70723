// SPDX-License-Identifier: Apache-2.0
// What c-plain and c-packed have in common, so that they differ in their loops only: options, one
// bound NFQUEUE socket, the bounds-checked attribute walk, and one 40-byte verdict message.
#ifndef CALLOUT_QUEUE_COMMON_H
#define CALLOUT_QUEUE_COMMON_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

struct nlmsghdr;

struct options {
  uint16_t queue;
  uint32_t copy_range;
  uint32_t max_length;
  uint32_t mark_mask;
  uint32_t mark_shift;
  uint32_t batch;
  uint32_t bite;  // messages of one receive call; 0: the batch
};

struct counters {
  uint64_t packets;
  uint64_t receives;   // successful receive calls: packets / receives is the mean batch
  uint64_t errors;     // NLMSG_ERROR messages: verdicts that the kernel refused
  uint64_t malformed;  // messages without a packet id; they get no verdict
};

struct packet {
  uint32_t id;
  uint32_t mark;
};

/// nlmsghdr + nfgenmsg + verdict header attribute + mark attribute.
enum { VERDICT_LENGTH = 40 };

/// Room for everything in a packet message but the payload.
enum { MESSAGE_OVERHEAD = 512 };

/// Set by SIGTERM and SIGINT, which interrupt the blocking receive.
extern volatile sig_atomic_t stopping;

/// Parses the command line; exits with 64 on a bad one.
struct options parse_options(int argc, char **argv);

/// Opens, sizes and binds the socket with all flags that every side of the benchmark sets; exits
/// with 1 and a message on failure.
int open_queue(const struct options *options);

/// Finds id and mark of one packet message. Returns 0 for anything else, after counting it.
int read_packet(const struct nlmsghdr *header, struct packet *packet, struct counters *counters);

/// Writes one whole ACCEPT verdict with a mark (VERDICT_LENGTH bytes).
void put_verdict(void *destination, uint16_t queue, uint32_t id, uint32_t mark);

/// The packet's mark with `value` written under the mask and every other bit as it was.
static inline uint32_t tagged(const struct options *options, uint32_t mark, uint64_t value) {
  uint32_t field = ((uint32_t)value << options->mark_shift) & options->mark_mask;
  return (mark & ~options->mark_mask) | field;
}

/// Prints the counters as one JSON object.
void report(const struct counters *counters);

#endif
