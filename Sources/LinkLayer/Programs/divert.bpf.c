// SPDX-License-Identifier: Apache-2.0
// Diverts the frames of one device and direction to a helper device, and lets through what comes
// back. What differs between devices is in the settings; what changes meanwhile is in one map.
#include "divert.h"

#define SECTION(name) __attribute__((section(name), used))
#define TCX_NEXT -1
#define TCX_DROP 2
#define AF_PACKET 17

/// A socket, as the verifier knows it.
struct bpf_sock {
  u32 bound_device;
  u32 family;
  u32 type;
  u32 protocol;
  u32 mark;
};

/// The context of classifiers and socket filters, which the verifier knows.
struct __sk_buff {
  u32 len;
  u32 pkt_type;
  u32 mark;
  u32 queue_mapping;
  u32 protocol;
  u32 vlan_present;
  u32 vlan_tci;
  u32 vlan_proto;
  u32 priority;
  u32 ingress_ifindex;
  u32 ifindex;
  u32 tc_index;
  u32 cb[5];
  u32 hash;
  u32 tc_classid;
  u32 data;
  u32 data_end;
  u32 napi_id;
  u32 of_sockets[12];
  u32 data_meta;
  u64 flow_keys;
  u64 tstamp;
  u32 wire_len;
  u32 gso_segs;
  struct bpf_sock *sk;
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const store_bytes)(
    struct __sk_buff *, u32 offset, const void *from, u32 length, u64 flags) = (void *)9;
static long (*const tail_call)(struct __sk_buff *, void *programs, u32 index) = (void *)12;
static long (*const redirect)(u32 device, u64 flags) = (void *)23;
static long (*const change_head)(struct __sk_buff *, u32 length, u64 flags) = (void *)43;
static struct bpf_sock *(*const full_socket)(struct bpf_sock *) = (void *)95;

struct {
  int (*type)[2];          // BPF_MAP_TYPE_ARRAY
  int (*map_flags)[1024];  // BPF_F_MMAPABLE
  int (*max_entries)[1];
  u32 *key;
  struct state *value;
} state SECTION(".maps");

/// Emptied by the kernel when no process has it open any more.
struct {
  int (*type)[3];  // BPF_MAP_TYPE_PROG_ARRAY
  int (*max_entries)[1];
  u32 *key;
  u32 *value;
} gate SECTION(".maps");

/// Set before the programs are loaded.
const volatile struct settings settings = {};

static inline __attribute__((always_inline)) struct state *find_state(void) {
  u32 zero = 0;
  return map_lookup(&state, &zero);
}

/// Whether nothing is on its way to the reader or back from it.
static inline __attribute__((always_inline)) int is_idle(volatile struct state *s) {
  return s->landed == s->handled && s->sent == s->returned;
}

/// The engines of a trail.
static inline __attribute__((always_inline)) u32 engines(u32 trail) {
  return __builtin_popcount(trail) > TRAIL_MOST_BITS ? ~trail : trail;
}

/// The trail of a frame that an engine sends by a device, 0 for others' frames.
static inline __attribute__((always_inline)) u32 sender_trail(struct __sk_buff *skb, u32 device) {
  struct bpf_sock *socket = skb->sk;
  if (!socket) return 0;
  socket = full_socket(socket);
  if (!socket || socket->family != AF_PACKET || socket->bound_device != device) return 0;
  return socket->mark;
}

static inline __attribute__((always_inline)) u32 note_key(void) {
  return NOTE_MAGIC ^ settings.device << 1 ^ settings.inject_flags;
}

/// Leaves a note for the programs at the device.
static inline __attribute__((always_inline)) void write_note(struct __sk_buff *skb, u32 trail) {
  skb->cb[NOTE_KEY] = note_key();
  skb->cb[NOTE_TRAIL] = trail;
  skb->cb[NOTE_CHECK] = ~(note_key() ^ trail);
  skb->cb[NOTE_AHEAD] = engines(trail);
}

/// The trail that a note tells of, 0 if there is none.
static inline __attribute__((always_inline)) u32 read_note(struct __sk_buff *skb) {
  u32 trail = skb->cb[NOTE_TRAIL];
  return skb->cb[NOTE_KEY] == note_key() && skb->cb[NOTE_CHECK] == ~(note_key() ^ trail) ? trail : 0;
}

/// Puts the prefix before the frame, and a MAC header where there is none.
static inline __attribute__((always_inline)) long wrap(struct __sk_buff *skb, u32 trail) {
  struct {
    struct prefix prefix;
    u16 mac[7];
  } head = {
      .prefix = {.mark = skb->mark & ~settings.bit,
                 .priority = skb->priority,
                 .queue = skb->queue_mapping,
                 .trail = trail},
      .mac = {0, 0, 0, 0, 0, 0, (u16)skb->protocol},
  };
  u32 length = settings.raw_ip ? sizeof head.prefix + sizeof head.mac : sizeof head.prefix;
  if (skb->vlan_present)
    head.prefix.tag =
        (u32)__builtin_bswap16((u16)skb->vlan_proto) << 16 | (u16)skb->vlan_tci;
  if (change_head(skb, length, 0)) return -1;
  return settings.raw_ip
             ? store_bytes(skb, 0, &head, sizeof head.prefix + sizeof head.mac, 0)
             : store_bytes(skb, 0, &head, sizeof head.prefix, 0);
}

/// At the device, in the one direction or the other.
SECTION("tc") int divert(struct __sk_buff *skb) {
  struct state *s = find_state();
  if (!s) return TCX_NEXT;
  u32 noted = read_note(skb), trail = noted;
  if (!noted && !settings.inject_flags) trail = sender_trail(skb, settings.device);
  int has_been_here = !!(engines(trail) & settings.bit);
  // The bit alone may be there by chance: the kernel keeps numbers of its own where the mark is.
  if (skb->tc_index == settings.injected_index ||
      (has_been_here && !noted && skb->mark & settings.bit)) {
    skb->tc_index = 0;
    skb->mark &= ~settings.bit;
    __sync_fetch_and_add(&s->returned, 1);
    if (noted) skb->cb[NOTE_AHEAD] &= ~settings.bit;
    return TCX_NEXT;
  }
  if (has_been_here && !noted) return TCX_NEXT;
  if (has_been_here && skb->cb[NOTE_AHEAD] & settings.bit) {
    skb->cb[NOTE_AHEAD] &= ~settings.bit;
    return TCX_NEXT;
  }
  // A note that has served is of the buffer's last time here.
  if (has_been_here) trail = 0;
  u64 mode = *(volatile u64 *)&s->mode;
  if (mode == MODE_PASS || (mode == MODE_DRAIN && is_idle(s))) {
    __sync_fetch_and_add(&s->passed, 1);
    return TCX_NEXT;
  }
  // A frame that goes on past others overtakes them, so this is for a reader that has fallen far
  // behind. Signed, because a frame may be handled before it is counted as landed.
  if (settings.limit && (long long)(s->landed - s->handled) >= (long long)settings.limit) {
    __sync_fetch_and_add(&s->overloaded, 1);
    return (int)settings.refusal;
  }
  if (wrap(skb, trail)) {
    __sync_fetch_and_add(&s->unwrapped, 1);
    return (int)settings.refusal;
  }
  // This buffer ends at the helper: whoever follows a packet by its mark must not see it end.
  skb->mark = 0;
  // What the helper's own stack sends does not bear it.
  skb->tc_index = settings.diverted_index;
  __sync_fetch_and_add(&s->diverted, 1);
  return redirect(settings.helper, 0);
}

/// What hangs at the device in the place of `divert` where that would outlive the process: with
/// nothing in the gate every frame passes.
SECTION("tc") int callout_gate(struct __sk_buff *skb) {
  tail_call(skb, &gate, 0);
  return TCX_NEXT;
}

/// Where the helper sends: what our sockets send goes to the device, and nothing else but what was
/// diverted comes to the packet socket.
SECTION("tc") int inject(struct __sk_buff *skb) {
  u32 trail = sender_trail(skb, settings.helper);
  if (engines(trail) & settings.bit) {
    skb->mark &= ~settings.bit;
    skb->tc_index = settings.injected_index;
    write_note(skb, trail);
    return redirect(settings.device, settings.inject_flags);
  }
  return skb->tc_index == settings.diverted_index ? TCX_NEXT : TCX_DROP;
}

/// At the helper's queue, once a frame, after the packet socket: nothing is ever queued there.
SECTION("socket") int landed(struct __sk_buff *skb) {
  struct state *s = find_state();
  if (s) __sync_fetch_and_add(&s->landed, 1);
  return 0;
}

char LICENSE[] SECTION("license") = "GPL";
