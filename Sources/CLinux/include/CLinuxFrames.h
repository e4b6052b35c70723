// SPDX-License-Identifier: Apache-2.0
// Packet sockets, TAP devices and the kernel's list of network devices.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "CLinux.h"

/// One frame's place in a ring of a packet socket.
struct clx_slot {
  uint32_t status;    ///< TP_STATUS_*
  uint32_t length;    ///< of the frame
  uint32_t captured;  ///< of these, how many bytes the slot holds
  uint32_t offset;    ///< where in the slot they begin, behind the virtio header
};

enum {
  CLX_SLOT_BYTES = 2048,
  CLX_VIRTIO_BYTES = 10,
  /// Frames that a slot cannot hold come whole by `recv`.
  CLX_SLOT_COPY = 1 << 1,
  /// The ring or that way was full since this was last asked.
  CLX_SLOT_LOSING = 1 << 2,
};

/// A TAP device that goes with the descriptor, or -1 with errno; EBUSY if the name is taken.
///
/// It takes unfinished checksums and frames to be segmented as they are.
int clx_open_tap(const char *name);
/// Lets a program decide what the device of a descriptor queues.
int clx_filter_tap(int tap, int program);
/// Takes over an abandoned TAP device so that it goes with the descriptor; EBUSY if somebody holds
/// it, EINVAL if it is no TAP device.
int clx_adopt_tap(const char *name, bool removing);
/// Notes up to 63 bytes at a device, for whoever lists devices.
int clx_set_alias(uint32_t device, const char *alias);
/// Gives a device no queue and that MTU, keeps IPv6 off it, and sets it up.
int clx_ready_helper(const char *name, uint32_t mtu);

/// A packet socket whose ring of that many slots takes what a device sends and receives, each frame
/// behind a virtio header; the memory's address is filled in.
int clx_open_ring(uint32_t device, uint32_t slots, void **memory);
/// What a slot holds, if it is the reader's turn.
bool clx_read_slot(const void *slot, struct clx_slot *taken);
/// Gives a slot back to the kernel.
void clx_return_slot(void *slot);
/// How many frames found no room since this was last asked, -1 with errno.
int64_t clx_ring_losses(int ring);
/// Takes the error that a socket holds for its next call, 0 if there is none.
int clx_take_error(int fd);

/// A packet socket that sends frames by a device, each behind a virtio header and with a mark of its
/// own; the programs there read the socket's.
int clx_open_frame_sender(uint32_t device, uint32_t trail);
int clx_set_trail(int fd, uint32_t trail);
/// Whether a message may carry its own priority (6.14); asks a sender without sending.
bool clx_takes_priority(int sender);
int clx_set_priority(int fd, uint32_t priority);

/// The control message of one frame: its mark, and its priority where messages may carry one.
struct clx_frame_control {
  uint64_t mark[3];
  uint64_t priority[3];
};

void clx_prepare_control(struct clx_frame_control *control);
static inline void clx_set_control(struct clx_frame_control *control, uint32_t mark,
                                   uint32_t priority) {
  control->mark[2] = mark;
  control->priority[2] = priority;
}
int clx_sendmmsg(int fd, struct clx_mmsghdr *messages, unsigned int count, int flags);
/// Sends one frame of two pieces, the first of which begins with a virtio header.
ssize_t clx_send_frame(int fd, const void *head, size_t head_length, const void *rest,
                       size_t rest_length, uint32_t mark, uint32_t priority, bool with_priority);

/// The same open file under a number of at least `lowest`, if that many may be open; takes the
/// descriptor over.
int clx_raise_descriptor(int fd, int lowest);

/// A socket for the kernel's list of devices, told of changes if it watches.
int clx_open_links(bool watching);
/// A netlink socket for one part of the kernel: one that waits at most five seconds for an answer, or,
/// with a set of groups, one that is told of their events and never waits.
int clx_open_netlink(int bus, uint32_t groups);
/// Asks for one device by index or name, or for all if there is neither.
int clx_request_links(int fd, uint32_t index, const char *name, uint32_t sequence);

/// Asks for the queueing disciplines of all devices.
int clx_request_qdiscs(int fd);
/// Asks for the filters of what a device receives or sends; of a device with an ingress discipline
/// only the former may be asked for.
int clx_request_filters(int fd, uint32_t device, bool outbound);

/// Returns when every frame that the kernel was about to receive or send has met what there is now:
/// it waits for that (`synchronize_net`) whenever a packet socket is closed.
int clx_wait_for_receivers(void);
