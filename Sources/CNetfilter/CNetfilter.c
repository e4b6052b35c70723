// SPDX-License-Identifier: Apache-2.0
#include "CNetfilter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int cnf_open(uint32_t *port_id) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (fd < 0) return -1;
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  socklen_t length = sizeof address;
  int on = 1;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
      setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) < 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
  }
  *port_id = address.nl_pid;
  return fd;
}

static int send_message(int fd, struct nlmsghdr *message, uint32_t sequence) {
  message->nlmsg_seq = sequence;
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  ssize_t sent = sendto(fd, message, message->nlmsg_len, 0, (struct sockaddr *)&kernel,
                        sizeof kernel);
  return sent < 0 ? -1 : 0;
}

int cnf_configure(int fd, uint16_t queue, bool bind,
                  const struct cnf_configuration *configuration, uint32_t sequence) {
  char buffer[256];
  struct nlmsghdr *message = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, queue);
  if (bind) nfq_nlmsg_cfg_put_cmd(message, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
  nfq_nlmsg_cfg_put_params(message, NFQNL_COPY_PACKET, configuration->copy_range);
  nfq_nlmsg_cfg_put_qmaxlen(message, configuration->maximum_length);
  mnl_attr_put_u32(message, NFQA_CFG_MASK, htonl(configuration->flags_mask));
  mnl_attr_put_u32(message, NFQA_CFG_FLAGS, htonl(configuration->flags));
  return send_message(fd, message, sequence);
}

int cnf_unbind(int fd, uint16_t queue, uint32_t sequence) {
  char buffer[64];
  struct nlmsghdr *message = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, queue);
  nfq_nlmsg_cfg_put_cmd(message, AF_UNSPEC, NFQNL_CFG_CMD_UNBIND);
  return send_message(fd, message, sequence);
}

int cnf_take_refusal(int fd, uint32_t sequence) {
  struct {
    struct nlmsghdr header;
    int error;
  } head;
  ssize_t length = recv(fd, &head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
  if (length < (ssize_t)sizeof head || head.header.nlmsg_type != NLMSG_ERROR ||
      head.header.nlmsg_seq != sequence)
    return 0;
  recv(fd, &head, sizeof head, MSG_DONTWAIT);
  return -head.error;
}
