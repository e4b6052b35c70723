// SPDX-License-Identifier: Apache-2.0
// Set-up shared by the C sides of the benchmark; see queue-common.h.
#define _GNU_SOURCE
#include "queue-common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/// The same for every subject: large enough that the queue length is the only limit.
static const int receive_buffer_bytes = 64 << 20;

volatile sig_atomic_t stopping = 0;

static void stop(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

static void fail(const char *operation) {
  perror(operation);
  exit(1);
}

static uint32_t number(const char *text, uint32_t maximum) {
  char *end = NULL;
  errno = 0;
  unsigned long value = strtoul(text, &end, 0);
  if (errno != 0 || end == text || *end != '\0' || value > maximum) {
    fprintf(stderr, "not a number from 0 to %" PRIu32 ": %s\n", maximum, text);
    exit(64);
  }
  return (uint32_t)value;
}

struct options parse_options(int argc, char **argv) {
  static const struct option names[] = {
      {"queue", required_argument, NULL, 'q'},      {"copy-range", required_argument, NULL, 'r'},
      {"max-length", required_argument, NULL, 'l'}, {"mark-mask", required_argument, NULL, 'm'},
      {"mark-shift", required_argument, NULL, 's'}, {"batch", required_argument, NULL, 'b'},
      {"bite", required_argument, NULL, 'i'},
      {NULL, 0, NULL, 0},
  };
  struct options options = {.queue = 31000,
                            .copy_range = 128,
                            .max_length = 8192,
                            .mark_mask = 0x3fffff00,
                            .mark_shift = 8,
                            .batch = 0,
                            .bite = 0};
  int letter;
  while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
    switch (letter) {
    case 'q': options.queue = (uint16_t)number(optarg, UINT16_MAX); break;
    case 'r': options.copy_range = number(optarg, 65531); break;
    case 'l': options.max_length = number(optarg, UINT32_MAX); break;
    case 'm': options.mark_mask = number(optarg, UINT32_MAX); break;
    case 's': options.mark_shift = number(optarg, 31); break;
    case 'b': options.batch = number(optarg, 1024); break;
    case 'i': options.bite = number(optarg, 1024); break;
    default: exit(64);
    }
  }
  return options;
}

static struct nlmsghdr *start_config(char *buffer, uint16_t queue) {
  struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_CONFIG;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  struct nfgenmsg *generic = mnl_nlmsg_put_extra_header(header, sizeof *generic);
  generic->nfgen_family = AF_UNSPEC;
  generic->version = NFNETLINK_V0;
  generic->res_id = htons(queue);
  return header;
}

static void send_config(int socket_number, const struct nlmsghdr *request, const char *what) {
  char answer[1024];
  if (send(socket_number, request, request->nlmsg_len, 0) < 0) { fail(what); }
  ssize_t length = recv(socket_number, answer, sizeof answer, 0);
  if (length < 0) { fail(what); }
  const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
  if (!mnl_nlmsg_ok(header, (int)length) || header->nlmsg_type != NLMSG_ERROR ||
      mnl_nlmsg_get_payload_len(header) < sizeof(struct nlmsgerr)) {
    fprintf(stderr, "%s: unexpected answer\n", what);
    exit(1);
  }
  const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);
  if (error->error != 0) {
    errno = -error->error;
    fail(what);
  }
}

static void bind_queue(int socket_number, uint16_t queue) {
  char buffer[256];
  struct nlmsghdr *header = start_config(buffer, queue);
  struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND, .pf = htons(AF_UNSPEC)};
  mnl_attr_put(header, NFQA_CFG_CMD, sizeof command, &command);
  send_config(socket_number, header, "bind queue");
}

static void configure_queue(int socket_number, const struct options *options) {
  char buffer[256];
  struct nlmsghdr *header = start_config(buffer, options->queue);
  struct nfqnl_msg_config_params parameters = {.copy_range = htonl(options->copy_range),
                                               .copy_mode = NFQNL_COPY_PACKET};
  mnl_attr_put(header, NFQA_CFG_PARAMS, sizeof parameters, &parameters);
  mnl_attr_put_u32(header, NFQA_CFG_QUEUE_MAXLEN, htonl(options->max_length));
  mnl_attr_put_u32(header, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_GSO));
  mnl_attr_put_u32(header, NFQA_CFG_MASK, htonl(NFQA_CFG_F_GSO));
  send_config(socket_number, header, "configure queue");
}

int open_queue(const struct options *options) {
  struct sigaction action = {.sa_handler = stop};  // no SA_RESTART: the receive must return
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);

  int socket_number = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (socket_number < 0) { fail("socket"); }
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  if (bind(socket_number, (struct sockaddr *)&address, sizeof address) < 0) { fail("bind"); }
  int on = 1;
  if (setsockopt(socket_number, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer_bytes,
                 sizeof receive_buffer_bytes) < 0) {
    fail("SO_RCVBUFFORCE");
  }
  if (setsockopt(socket_number, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) < 0) {
    fail("NETLINK_NO_ENOBUFS");
  }
  bind_queue(socket_number, options->queue);
  configure_queue(socket_number, options);
  return socket_number;
}

int read_packet(const struct nlmsghdr *header, struct packet *packet, struct counters *counters) {
  if (header->nlmsg_type != ((NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET)) {
    counters->errors += header->nlmsg_type == NLMSG_ERROR;
    return 0;
  }
  if (header->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg)) {
    counters->malformed += 1;
    return 0;
  }
  int found = 0;
  packet->mark = 0;
  const struct nlattr *attribute;
  mnl_attr_for_each(attribute, header, sizeof(struct nfgenmsg)) {
    const void *value = mnl_attr_get_payload(attribute);
    uint16_t length = mnl_attr_get_payload_len(attribute);
    switch (mnl_attr_get_type(attribute)) {
    case NFQA_PACKET_HDR:
      if (length >= sizeof(struct nfqnl_msg_packet_hdr)) {
        packet->id = ntohl(((const struct nfqnl_msg_packet_hdr *)value)->packet_id);
        found = 1;
      }
      break;
    case NFQA_MARK:
      if (length >= sizeof(uint32_t)) { packet->mark = ntohl(*(const uint32_t *)value); }
      break;
    default: break;
    }
  }
  counters->malformed += !found;
  return found;
}

struct verdict_message {
  struct nlmsghdr header;
  struct nfgenmsg generic;
  struct nlattr verdict_attribute;
  struct nfqnl_msg_verdict_hdr verdict;
  struct nlattr mark_attribute;
  uint32_t mark;
};
_Static_assert(sizeof(struct verdict_message) == VERDICT_LENGTH, "no padding anywhere");

void put_verdict(void *destination, uint16_t queue, uint32_t id, uint32_t mark) {
  const struct verdict_message message = {
      .header = {.nlmsg_len = VERDICT_LENGTH,
                 .nlmsg_type = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_VERDICT,
                 .nlmsg_flags = NLM_F_REQUEST},
      .generic = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(queue)},
      .verdict_attribute = {.nla_len = sizeof(struct nlattr) + sizeof message.verdict,
                            .nla_type = NFQA_VERDICT_HDR},
      .verdict = {.verdict = htonl(NF_ACCEPT), .id = htonl(id)},
      .mark_attribute = {.nla_len = sizeof(struct nlattr) + sizeof message.mark,
                         .nla_type = NFQA_MARK},
      .mark = htonl(mark),
  };
  memcpy(destination, &message, sizeof message);
}

void report(const struct counters *counters) {
  printf("{\"packets\": %" PRIu64 ", \"receives\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"malformed\": %" PRIu64 "}\n",
         counters->packets, counters->receives, counters->errors, counters->malformed);
}
