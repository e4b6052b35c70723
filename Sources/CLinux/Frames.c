// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "CLinuxFrames.h"

_Static_assert(CLX_SLOT_COPY == TP_STATUS_COPY && CLX_SLOT_LOSING == TP_STATUS_LOSING, "status");
_Static_assert(sizeof(struct clx_frame_control) == 2 * CMSG_SPACE(4) && CMSG_LEN(0) == 16,
               "control messages");

static int fail(int fd) {
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

static int set(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value);
}

static int bind_to(int fd, uint32_t device, uint16_t protocol) {
  struct sockaddr_ll address = {
      .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = (int)device};
  return bind(fd, (struct sockaddr *)&address, sizeof address);
}

int clx_open_ring(uint32_t device, uint32_t slots, void **memory) {
  const uint32_t per_block = 128;
  if (slots == 0 || slots % per_block || slots > 1 << 18) {
    errno = EINVAL;
    return -1;
  }
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  struct tpacket_req request = {
      .tp_block_size = per_block * CLX_SLOT_BYTES,
      .tp_block_nr = slots / per_block,
      .tp_frame_size = CLX_SLOT_BYTES,
      .tp_frame_nr = slots,
  };
  // What comes by `recv` is bounded by this buffer.
  if (clx_force_receive_buffer(fd, 128 << 20) < 0 ||
      set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2) < 0 ||
      set(fd, SOL_PACKET, PACKET_VNET_HDR, 1) < 0 ||
      set(fd, SOL_PACKET, PACKET_COPY_THRESH, CLX_SLOT_BYTES) < 0 ||
      setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) < 0)
    return fail(fd);
  size_t bytes = (size_t)slots * CLX_SLOT_BYTES;
  void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return fail(fd);
  if (bind_to(fd, device, ETH_P_ALL) < 0) {
    int saved = errno;
    munmap(mapped, bytes);
    errno = saved;
    return fail(fd);
  }
  *memory = mapped;
  return fd;
}

bool clx_read_slot(const void *slot, struct clx_slot *taken) {
  const struct tpacket2_hdr *header = slot;
  taken->status = __atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE);
  if (!(taken->status & TP_STATUS_USER)) return false;
  taken->length = header->tp_len;
  taken->captured = header->tp_snaplen;
  taken->offset = header->tp_mac;
  return true;
}

void clx_return_slot(void *slot) {
  struct tpacket2_hdr *header = slot;
  __atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

int64_t clx_ring_losses(int ring) {
  struct tpacket_stats statistics;
  socklen_t length = sizeof statistics;
  if (getsockopt(ring, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) < 0) return -1;
  return statistics.tp_drops;
}

int clx_take_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? errno : error;
}

int clx_open_frame_sender(uint32_t device, uint32_t trail) {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  // What waits in the device's queue is charged to this socket.
  if (set(fd, SOL_PACKET, PACKET_VNET_HDR, 1) < 0 || clx_force_send_buffer(fd, 32 << 20) < 0 ||
      set(fd, SOL_SOCKET, SO_BINDTOIFINDEX, (int)device) < 0 || clx_set_trail(fd, trail) < 0 ||
      bind_to(fd, device, 0) < 0)
    return fail(fd);
  return fd;
}

int clx_set_trail(int fd, uint32_t trail) {
  return setsockopt(fd, SOL_SOCKET, SO_MARK, &trail, sizeof trail);
}

int clx_set_priority(int fd, uint32_t priority) {
  return setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority);
}

void clx_prepare_control(struct clx_frame_control *control) {
  memset(control, 0, sizeof *control);
  struct cmsghdr *header = (struct cmsghdr *)control->mark;
  *header = (struct cmsghdr){
      .cmsg_len = CMSG_LEN(4), .cmsg_level = SOL_SOCKET, .cmsg_type = SO_MARK};
  header = (struct cmsghdr *)control->priority;
  *header = (struct cmsghdr){
      .cmsg_len = CMSG_LEN(4), .cmsg_level = SOL_SOCKET, .cmsg_type = SO_PRIORITY};
}

int clx_sendmmsg(int fd, struct clx_mmsghdr *messages, unsigned int count, int flags) {
  return sendmmsg(fd, (struct mmsghdr *)messages, count, flags);
}

ssize_t clx_send_frame(int fd, const void *head, size_t head_length, const void *rest,
                       size_t rest_length, uint32_t mark, uint32_t priority,
                       bool with_priority) {
  struct clx_frame_control control;
  clx_prepare_control(&control);
  clx_set_control(&control, mark, priority);
  struct iovec pieces[2] = {{(void *)head, head_length}, {(void *)rest, rest_length}};
  struct msghdr message = {
      .msg_iov = pieces,
      .msg_iovlen = 2,
      .msg_control = &control,
      .msg_controllen = with_priority ? sizeof control : sizeof control.mark,
  };
  return sendmsg(fd, &message, MSG_DONTWAIT);
}

bool clx_takes_priority(int sender) {
  // Longer than any device takes, so that what is refused is either the message or its control.
  static const char zeros[4096];
  struct iovec pieces[32];
  for (size_t index = 0; index < 32; index++)
    pieces[index] = (struct iovec){(void *)zeros, sizeof zeros};
  struct clx_frame_control control;
  clx_prepare_control(&control);
  struct msghdr message = {.msg_iov = pieces,
                           .msg_iovlen = 32,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  return sendmsg(sender, &message, MSG_DONTWAIT) < 0 && errno == EMSGSIZE;
}

int clx_raise_descriptor(int fd, int lowest) {
  int raised = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
  if (raised < 0) return fd;
  close(fd);
  return raised;
}
