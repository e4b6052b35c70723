// SPDX-License-Identifier: Apache-2.0
// Lets every frame that a device sends go on, behind the same divert as Callout's: one frame a call
// ("copy"), or many ("mark"). Each is put back with its own mark.
//
//   c-frames copy|mark DEVICE OBJECT
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../CLinux/include/CLinuxFrames.h"
#include "../LinkLayer/Programs/divert.h"

enum { BATCH = 64, ROOM = 70000, BIT = 0x20000000, TCX_EGRESS = 47 };

static struct state *state;

static int load(const char *path, const char *name, const struct settings *settings, int map) {
  struct bpf_object *object = bpf_object__open_file(path, NULL);
  if (!object) err(1, "%s", path);
  struct bpf_program *program;
  bpf_object__for_each_program(program, object)
    bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), name));
  if (bpf_map__reuse_fd(bpf_object__find_map_by_name(object, "state"), map) < 0 ||
      bpf_map__set_initial_value(
          bpf_object__find_map_by_name(object, ".rodata"), settings, sizeof *settings) < 0 ||
      bpf_object__load(object) < 0)
    err(1, "load %s", name);
  return dup(bpf_program__fd(bpf_object__find_program_by_name(object, name)));
}

static void attach(int program, unsigned device) {
  if (bpf_link_create(program, (int)device, (enum bpf_attach_type)TCX_EGRESS, NULL) < 0) err(1, "attach");
}

static int open_socket(unsigned device, int protocol) {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1, bytes = 256 << 20, bit = BIT;
  if (fd < 0) err(1, "socket");
  struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                .sll_protocol = htons((uint16_t)protocol),
                                .sll_ifindex = (int)device};
  if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &device, sizeof device) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_MARK, &bit, sizeof bit) < 0 ||
      bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
    err(1, "packet socket");
  return fd;
}

struct message {
  uint8_t bytes[ROOM];
  struct iovec vector;
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(uint32_t))];
  } mark;
};

/// What came is a virtio header, the divert's prefix and the frame: takes the prefix out, puts the VLAN
/// tag in, and readies the message for being sent with the frame's mark.
static void unwrap(struct message *message, size_t length, struct msghdr *to) {
  struct virtio_net_hdr offload;
  struct prefix prefix;
  memcpy(&offload, message->bytes, 10);
  memcpy(&prefix, message->bytes + 10, sizeof prefix);
  uint8_t *frame = message->bytes + 10 + sizeof prefix;
  size_t shift = sizeof prefix;
  if (prefix.tag) {
    memmove(frame - 4, frame, 12);
    frame -= 4;
    shift -= 4;
    uint32_t tag = htonl(prefix.tag);
    memcpy(frame + 12, &tag, sizeof tag);
  }
  if (offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) offload.csum_start -= (uint16_t)shift;
  if (offload.gso_type) offload.hdr_len -= (uint16_t)shift;
  memcpy(frame - 10, &offload, 10);
  message->vector = (struct iovec){frame - 10, length - shift};
  message->mark.header = (struct cmsghdr){
      .cmsg_len = CMSG_LEN(sizeof(uint32_t)), .cmsg_level = SOL_SOCKET, .cmsg_type = SO_MARK};
  uint32_t mark = prefix.mark | BIT;
  memcpy(CMSG_DATA(&message->mark.header), &mark, sizeof mark);
  *to = (struct msghdr){.msg_iov = &message->vector,
                        .msg_iovlen = 1,
                        .msg_control = &message->mark,
                        .msg_controllen = sizeof message->mark};
}

static struct message messages[BATCH];

static void copy_frames(int in, int out) {
  for (;;) {
    ssize_t length = recv(in, messages[0].bytes, ROOM, 0);
    if (length < 0) err(1, "recv");
    struct msghdr to;
    unwrap(&messages[0], (size_t)length, &to);
    if (sendmsg(out, &to, 0) < 0 && errno != ENOBUFS) err(1, "send");
    state->handled++;
  }
}

static void move_frames(int in, int out) {
  static struct mmsghdr from[BATCH], to[BATCH];
  static struct iovec vectors[BATCH];
  for (int index = 0; index < BATCH; index++) {
    vectors[index] = (struct iovec){messages[index].bytes, ROOM};
    from[index].msg_hdr = (struct msghdr){.msg_iov = &vectors[index], .msg_iovlen = 1};
  }
  for (;;) {
    int count = recvmmsg(in, from, BATCH, MSG_WAITFORONE, NULL);
    if (count < 0) err(1, "recvmmsg");
    for (int index = 0; index < count; index++)
      unwrap(&messages[index], from[index].msg_len, &to[index].msg_hdr);
    for (int sent = 0; sent < count;) {
      int taken = sendmmsg(out, to + sent, (unsigned)(count - sent), 0);
      if (taken < 0 && errno != ENOBUFS) err(1, "sendmmsg");
      sent += taken > 0 ? taken : 1;
    }
    state->handled += (u64)count;
  }
}

int main(int count, char **words) {
  if (count != 4) errx(2, "usage: c-frames copy|mark DEVICE OBJECT");
  unsigned device = if_nametoindex(words[2]);
  int tap = clx_open_tap("cbench");
  if (device == 0 || tap < 0) err(1, "%s", words[2]);
  unsigned helper = if_nametoindex("cbench");
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
  int map = bpf_map_create(
      BPF_MAP_TYPE_ARRAY, "state", sizeof(u32), sizeof(struct state), 1, &options);
  state = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
  if (map < 0 || state == MAP_FAILED) err(1, "map");
  struct settings settings = {.bit = BIT,
                              .helper = helper,
                              .device = device,
                              .refusal = (u32)-1,
                              .diverted_index = 0x4001,
                              .injected_index = 0xc001};
  attach(load(words[3], "inject", &settings, map), helper);
  if (clx_filter_tap(tap, load(words[3], "landed", &settings, map)) < 0 ||
      clx_ready_helper("cbench", 65521) < 0)
    err(1, "helper");
  int in = open_socket(helper, ETH_P_ALL), out = open_socket(device, 0);
  attach(load(words[3], "divert", &settings, map), device);
  puts("ready");
  fflush(stdout);
  if (strcmp(words[1], "copy") == 0) copy_frames(in, out);
  move_frames(in, out);
}
