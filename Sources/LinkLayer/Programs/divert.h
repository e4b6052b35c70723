// SPDX-License-Identifier: Apache-2.0
// What the kernel-side programs and the divert share.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/// What the programs of one device and direction need to know; same layout as Swift's
/// `DivertSettings`.
struct settings {
  u32 bit;             // of the mark: borne by what we put back
  u32 helper;          // the index of the device that frames are diverted to
  u32 device;          // the index of the device that they are diverted from
  u32 inject_flags;    // BPF_F_INGRESS to put back into the device's stack, 0 to send by it
  u32 raw_ip;          // whether the device's frames have no MAC header
  u32 limit;           // the most frames under way to the reader, 0 for any number
  u32 refusal;         // what becomes of frames beyond it: TCX_NEXT or TCX_DROP
  u32 diverted_index;  // tc_index of what is on its way to the helper
  u32 injected_index;  // tc_index of what comes back from it
};

enum { MODE_DIVERT, MODE_DRAIN, MODE_PASS };

/// Where each writer has a cache line of its own; Swift's `DivertCell` numbers the 64-bit cells.
struct state {
  // The program at the device.
  u64 diverted;    // frames sent to the helper
  u64 returned;    // frames of ours let through
  u64 passed;      // frames let through while the divert is taken down
  u64 unwrapped;   // frames that could not be given the prefix
  u64 overloaded;  // frames beyond the limit
  u64 unused0[3];
  // The program at the helper.
  u64 landed;  // frames, after segmentation, that the packet socket was offered
  u64 unused1[7];
  // The divert.
  u64 handled;  // frames of these that it has decided, or knows to be lost
  u64 sent;     // frames it has put back
  u64 mode;
  u64 unused2[5];
};

/// What a ring cannot say of a frame, laid before its first byte.
struct prefix {
  u32 mark;
  u32 priority;
  u32 tag;    // the VLAN tag beside the frame, protocol and control information; 0 for none
  u32 queue;  // the device's queue
  u32 trail;  // who has had it at this device and direction before
};

/// A trail has the injected bit of each engine that has let the frame through, or put it back; all of
/// them inverted where one of them injected it, so that it is new to the others. 0 is none. What an
/// engine sends bears its trail as its socket's mark, the device as the one that the socket is bound to.
enum { TRAIL_MOST_BITS = 16 };

/// How a frame that comes from a helper bears its trail, in `cb`: what else lies there does not match.
enum { NOTE_KEY, NOTE_TRAIL, NOTE_CHECK, NOTE_AHEAD };
enum { NOTE_MAGIC = 0x6c1d07ce };
