// SPDX-License-Identifier: Apache-2.0
// Sends UDP datagrams as fast as it can with sendmmsg. The first 8 payload bytes are a sequence
// number (host order); --flows spreads them over that many destination ports. Stops after
// --seconds, after --packets, or at SIGTERM, and prints what it sent as one JSON object.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, MAXIMUM_SIZE = 1472, MAXIMUM_SECONDS = 600 };

struct options {
  struct sockaddr_in address;
  uint64_t packets;
  double seconds;
  uint32_t flows;
  uint32_t size;
  uint32_t send_buffer;
};

struct flood {
  struct mmsghdr messages[BATCH];
  struct iovec slots[BATCH];
  struct sockaddr_in addresses[BATCH];
  unsigned char payloads[BATCH][MAXIMUM_SIZE];
};

static volatile sig_atomic_t stopping = 0;

static void stop(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

static void refuse(const char *text) {
  fprintf(stderr, "out of range: %s\n", text);
  exit(64);
}

static uint64_t number(const char *text, uint64_t minimum, uint64_t maximum) {
  char *end = NULL;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 0);
  if (errno != 0 || end == text || *end != '\0' || value < minimum || value > maximum) {
    refuse(text);
  }
  return value;
}

static struct options parse_options(int argc, char **argv) {
  static const struct option names[] = {
      {"address", required_argument, NULL, 'a'}, {"port", required_argument, NULL, 'p'},
      {"packets", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 't'},
      {"flows", required_argument, NULL, 'f'},   {"size", required_argument, NULL, 's'},
      {"send-buffer", required_argument, NULL, 'b'}, {NULL, 0, NULL, 0},
  };
  struct options options = {.packets = UINT64_MAX, .seconds = 1, .flows = 1, .size = 72};
  options.address.sin_family = AF_INET;
  options.address.sin_port = htons(9000);
  int letter;
  while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
    switch (letter) {
    case 'a':
      if (inet_pton(AF_INET, optarg, &options.address.sin_addr) != 1) { refuse(optarg); }
      break;
    case 'p': options.address.sin_port = htons((uint16_t)number(optarg, 1, UINT16_MAX)); break;
    case 'n': options.packets = number(optarg, 1, UINT64_MAX); break;
    case 't':
      options.seconds = strtod(optarg, NULL);
      if (!(options.seconds > 0 && options.seconds <= MAXIMUM_SECONDS)) { refuse(optarg); }
      break;
    case 'f': options.flows = (uint32_t)number(optarg, 1, 50000); break;
    case 's': options.size = (uint32_t)number(optarg, 8, MAXIMUM_SIZE); break;
    case 'b': options.send_buffer = (uint32_t)number(optarg, 1, INT32_MAX / 2); break;
    default: exit(64);
    }
  }
  if (options.address.sin_addr.s_addr == 0) {
    fprintf(stderr, "--address is missing\n");
    exit(64);
  }
  if (ntohs(options.address.sin_port) + options.flows - 1 > UINT16_MAX) { refuse("--flows"); }
  return options;
}

static int open_socket(const struct options *options) {
  int socket_number = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket_number < 0) {
    perror("socket");
    exit(1);
  }
  int bytes = (int)options->send_buffer;
  if (bytes > 0 &&
      setsockopt(socket_number, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0) {
    perror("SO_SNDBUFFORCE");
    exit(1);
  }
  // One flow is connected, so that the route is looked up once.
  if (options->flows == 1 && connect(socket_number, (const struct sockaddr *)&options->address,
                                     sizeof options->address) < 0) {
    perror("connect");
    exit(1);
  }
  return socket_number;
}

static void prepare(struct flood *flood, const struct options *options) {
  for (int index = 0; index < BATCH; index++) {
    struct msghdr *header = &flood->messages[index].msg_hdr;
    flood->slots[index] = (struct iovec){flood->payloads[index], options->size};
    flood->addresses[index] = options->address;
    header->msg_iov = &flood->slots[index];
    header->msg_iovlen = 1;
    if (options->flows > 1) {
      header->msg_name = &flood->addresses[index];
      header->msg_namelen = sizeof flood->addresses[index];
    }
  }
}

static void number_batch(struct flood *flood, const struct options *options, uint64_t first,
                         unsigned int count) {
  const uint32_t port = ntohs(options->address.sin_port);
  for (unsigned int index = 0; index < count; index++) {
    const uint64_t sequence = first + index;
    memcpy(flood->payloads[index], &sequence, sizeof sequence);
    if (options->flows > 1) {
      flood->addresses[index].sin_port = htons((uint16_t)(port + sequence % options->flows));
    }
  }
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  static struct flood flood;
  const struct options options = parse_options(argc, argv);
  const struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int socket_number = open_socket(&options);
  prepare(&flood, &options);

  uint64_t sent = 0, errors = 0;
  const double start = now();
  double elapsed = 0;
  while (!stopping && sent + errors < options.packets) {
    const uint64_t left = options.packets - sent - errors;
    const unsigned int count = left < BATCH ? (unsigned int)left : BATCH;
    number_batch(&flood, &options, sent + errors, count);
    const int done = sendmmsg(socket_number, flood.messages, count, 0);
    if (done > 0) { sent += (uint64_t)done; }
    // sendmmsg stops before the message that failed and only the next call says why; skip it.
    if (done < 0 && errno != EINTR) { errors += 1; }
    elapsed = now() - start;
    if (elapsed >= options.seconds) { break; }
  }
  printf("{\"sent\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.6f}\n", sent, errors,
         elapsed);
  return 0;
}
