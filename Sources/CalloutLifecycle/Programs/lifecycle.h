// SPDX-License-Identifier: Apache-2.0
// What the kernel-side programs and the observer share.
#pragma once

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/// What has been seen of the packets that bear one handle; same layout as Swift's `Sighting`.
///
/// Times are CLOCK_MONOTONIC in units of 1,024 ns, cut to 32 bits; 0 is none.
struct sighting {
  u64 skb;      // the first skb that was seen
  u32 place;    // low half of the address of the code that dropped it
  u32 sent;     // first given to a device other than loopback
  u32 reached;  // first at a socket
  u32 ended;    // last freed or dropped, unless it had been sent
  u32 device;   // the device that it was sent by
  u32 seen;     // bits below; the upper half is the reason of the last drop
};

/// The buffers that bear one handle, counted; same layout as Swift's `BearerCount`.
///
/// The one in `sighting.skb` is the first; of all others each is added when it becomes a bearer and
/// each, the first too, taken away when it is one no longer. So nothing is left if the two together
/// are 0. One that was not seen to go only makes that late; where one was not seen to come, the sum
/// is made odd, which no address is, and so never 0 again.
struct bearers {
  u64 change;  // the sum of the addresses that came less those that went
  u32 came;    // low half of the address that came last
  u32 gone;    // low half of the address that went last
  u32 copied;  // when a copy was made last, as in `sighting`
  u32 copies;  // clones made; in the upper half, copies of the data too
  u32 told;    // the observer's own
  u32 unused;
};

/// What the programs need to know, in one object that the observer fills in.
struct settings {
  u32 netns;         // the inode of our network namespace
  u32 field_mask;    // our bits of the mark
  u32 field_shift;   // where they begin
  u32 number_mask;   // the handle's bits, shifted down
  u32 epoch_bit;     // of the mark
  u32 epoch;         // as it is set in the marks of this start
  u32 largest;       // the last handle's number
  u32 not_specified; // enum skb_drop_reason: given where nobody says why
  u32 queue_purge;   // given to what is left in the queue of a socket that is closed
};

/// An enum skb_drop_reason in 16 bits: 4 of its subsystem, 12 of its number there.
#define SHORT_REASON(reason) ((u16)(((reason) >> 16 & 15) << 12 | ((reason)&0xfff)))

enum {
  SEEN_SENT = 1,
  SEEN_REACHED = 2,
  SEEN_FREED = 4,
  SEEN_DROPPED = 8,
  SEEN_READ = 16,     // by a program
  SEEN_SEVERAL = 32,  // more than one skb bore the handle
  SEEN_LOOPED = 64,   // given to the loopback device
  SEEN_REFUSED = 128,  // dropped after it had reached a socket, though not with the socket
  SEEN_DEVICES = 256,  // given to more than one device
  SEEN_LEFT = 512,     // met in another network namespace
};
