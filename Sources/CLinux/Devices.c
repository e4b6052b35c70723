// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "CLinuxFrames.h"

static int fail(int fd) {
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

static int name_request(struct ifreq *request, const char *name) {
  size_t length = strlen(name);
  if (length == 0 || length >= sizeof request->ifr_name) {
    errno = EINVAL;
    return -1;
  }
  memset(request, 0, sizeof *request);
  memcpy(request->ifr_name, name, length);
  return 0;
}

static int open_tun(const char *name, short flags) {
  struct ifreq request;
  if (name_request(&request, name) < 0) return -1;
  request.ifr_flags = flags;
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -1;
  return ioctl(fd, TUNSETIFF, &request) < 0 ? fail(fd) : fd;
}

int clx_open_tap(const char *name) {
  int fd = open_tun(name, (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL));
  if (fd < 0) return -1;
  enum { USO4 = 0x20, USO6 = 0x40 };  // 6.2
  unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctl(fd, TUNSETOFFLOAD, offloads | USO4 | USO6) < 0 &&
      ioctl(fd, TUNSETOFFLOAD, offloads) < 0)
    return fail(fd);
  return fd;
}

int clx_filter_tap(int tap, int program) { return ioctl(tap, TUNSETFILTEREBPF, &program); }

int clx_adopt_tap(const char *name, bool removing) {
  if (if_nametoindex(name) == 0) return -1;
  int fd = open_tun(name, (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR));
  if (fd >= 0 && removing && ioctl(fd, TUNSETPERSIST, 0) < 0) return fail(fd);
  return fd;
}

/// Sends a request and reads its acknowledgement; -1 with errno.
static int request_route(struct nlmsghdr *message) {
  int fd = clx_open_links(false);
  if (fd < 0) return -1;
  message->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  if (send(fd, message, message->nlmsg_len, 0) < 0) return fail(fd);
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
  } answer;
  ssize_t length = recv(fd, &answer, sizeof answer, MSG_TRUNC);
  if (length < 0) return fail(fd);
  close(fd);
  if (length < (ssize_t)sizeof answer || answer.header.nlmsg_type != NLMSG_ERROR) {
    errno = EPROTO;
    return -1;
  }
  errno = -answer.error.error;
  return errno ? -1 : 0;
}

/// Where a device has a queue of its own, frames would wait in it.
static int remove_queue(unsigned int device) {
  struct {
    struct nlmsghdr header;
    struct tcmsg body;
    struct rtattr attribute;
    char kind[8];
  } message = {
      .header = {.nlmsg_len = sizeof message,
                 .nlmsg_type = RTM_NEWQDISC,
                 .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE},
      .body = {.tcm_family = AF_UNSPEC, .tcm_ifindex = (int)device, .tcm_parent = TC_H_ROOT},
      .attribute = {.rta_len = RTA_LENGTH(8), .rta_type = TCA_KIND},
      .kind = "noqueue",
  };
  return request_route(&message.header);
}

int clx_set_alias(uint32_t device, const char *alias) {
  struct {
    struct nlmsghdr header;
    struct ifinfomsg body;
    struct rtattr attribute;
    char text[64];
  } message = {
      .header = {.nlmsg_len = sizeof message, .nlmsg_type = RTM_SETLINK},
      .body = {.ifi_family = AF_UNSPEC, .ifi_index = (int)device},
      .attribute = {.rta_len = RTA_LENGTH(sizeof message.text), .rta_type = IFLA_IFALIAS},
  };
  snprintf(message.text, sizeof message.text, "%s", alias);
  return request_route(&message.header);
}

int clx_ready_helper(const char *name, uint32_t mtu) {
  struct ifreq request;
  if (name_request(&request, name) < 0) return -1;
  unsigned int device = if_nametoindex(name);
  if (device == 0) return -1;
  // Where /proc cannot be written, the program at the device drops what its stack says.
  char path[80];
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
  int setting = open(path, O_WRONLY | O_CLOEXEC);
  if (setting >= 0) {
    ssize_t written = write(setting, "1", 1);
    (void)written;
    close(setting);
  }
  if (remove_queue(device) < 0) return -1;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  request.ifr_qlen = 0;
  if (ioctl(fd, SIOCSIFTXQLEN, &request) < 0) return fail(fd);
  request.ifr_mtu = (int)mtu;
  if (ioctl(fd, SIOCSIFMTU, &request) < 0) return fail(fd);
  if (ioctl(fd, SIOCGIFFLAGS, &request) < 0) return fail(fd);
  request.ifr_flags |= IFF_UP;
  if (ioctl(fd, SIOCSIFFLAGS, &request) < 0) return fail(fd);
  close(fd);
  return 0;
}

int clx_open_links(bool watching) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (watching ? SOCK_NONBLOCK : 0),
                  NETLINK_ROUTE);
  if (fd < 0) return -1;
  struct sockaddr_nl address = {.nl_family = AF_NETLINK,
                                .nl_groups = watching ? RTMGRP_LINK : 0};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return fail(fd);
  if (watching && clx_force_receive_buffer(fd, 4 << 20) < 0) return fail(fd);
  return fd;
}

int clx_open_netlink(int bus, uint32_t groups) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (groups ? SOCK_NONBLOCK : 0), bus);
  if (fd < 0) return -1;
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  struct timeval limit = {.tv_sec = 5};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return fail(fd);
  if (!groups && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
    return fail(fd);
  if (groups && clx_force_receive_buffer(fd, 8 << 20) < 0) return fail(fd);
  return fd;
}

int clx_request_links(int fd, uint32_t index, const char *name, uint32_t sequence) {
  struct {
    struct nlmsghdr header;
    struct ifinfomsg body;
    struct rtattr attribute;
    char name[IFNAMSIZ];
  } message = {
      .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
                 .nlmsg_type = RTM_GETLINK,
                 .nlmsg_flags = NLM_F_REQUEST,
                 .nlmsg_seq = sequence},
      .body = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index},
  };
  if (name) {
    size_t length = strlen(name);
    if (length == 0 || length >= IFNAMSIZ) {
      errno = ENODEV;
      return -1;
    }
    memcpy(message.name, name, length);
    message.attribute = (struct rtattr){RTA_LENGTH(IFNAMSIZ), IFLA_IFNAME};
    message.header.nlmsg_len = sizeof message;
  } else if (index == 0) {
    message.header.nlmsg_flags |= NLM_F_DUMP;
  }
  return send(fd, &message, message.header.nlmsg_len, 0) < 0 ? -1 : 0;
}

/// Where filters of what a device receives or sends hang.
static unsigned int filter_place(bool outbound) {
  return TC_H_MAKE(TC_H_CLSACT, outbound ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
}

static int request_dump(int fd, unsigned short type, uint32_t device, unsigned int parent) {
  struct {
    struct nlmsghdr header;
    struct tcmsg body;
  } message = {
      .header = {.nlmsg_len = sizeof message,
                 .nlmsg_type = type,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                 .nlmsg_seq = 1},
      .body = {.tcm_family = AF_UNSPEC, .tcm_ifindex = (int)device, .tcm_parent = parent},
  };
  return send(fd, &message, sizeof message, 0) < 0 ? -1 : 0;
}

int clx_request_qdiscs(int fd) { return request_dump(fd, RTM_GETQDISC, 0, 0); }

int clx_request_filters(int fd, uint32_t device, bool outbound) {
  return request_dump(fd, RTM_GETTFILTER, device, filter_place(outbound));
}

int clx_wait_for_receivers(void) {
  int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  return fd < 0 ? -1 : close(fd);
}
