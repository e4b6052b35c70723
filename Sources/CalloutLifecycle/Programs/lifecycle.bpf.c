// SPDX-License-Identifier: Apache-2.0
// Notes in one map, handle by handle, what the kernel does with the packets that bear our mark.
// Nothing here changes a packet.
#include "lifecycle.h"

#define SECTION(name) __attribute__((section(name), used))
#define RELOCATED __attribute__((preserve_access_index))

struct ns_common {
  u32 inum;
} RELOCATED;

struct net {
  struct ns_common ns;
} RELOCATED;

typedef struct {
  struct net *net;
} RELOCATED possible_net_t;

struct net_device {
  int ifindex;
  u32 flags;
  possible_net_t nd_net;
} RELOCATED;

struct sock_common {
  possible_net_t skc_net;
} RELOCATED;

struct sock {
  struct sock_common __sk_common;
} RELOCATED;

struct sk_buff {
  struct net_device *dev;
  struct sock *sk;
  u32 mark;
} RELOCATED;

/// The context of socket filters, which the verifier knows.
struct __sk_buff {
  u32 len;
  u32 pkt_type;
  u32 mark;
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static u64 (*const ktime)(void) = (void *)5;
static long (*const read_kernel)(void *to, u32 size, const void *from) = (void *)113;

struct {
  int (*type)[2];  // BPF_MAP_TYPE_ARRAY
  int (*map_flags)[1024];  // BPF_F_MMAPABLE
  int (*max_entries)[1];  // set before it is loaded
  u32 *key;
  struct sighting *value;
} sightings SECTION(".maps");

struct {
  int (*type)[2];
  int (*map_flags)[1024];
  int (*max_entries)[1];
  u32 *key;
  struct bearers *value;
} bearers SECTION(".maps");

/// Set before the programs are loaded.
const volatile struct settings settings = {};

/// The handle in a mark, 0 if there is none of ours.
static inline __attribute__((always_inline)) u32 handle(u32 mark) {
  u32 number = mark >> settings.field_shift & settings.number_mask;
  return number > settings.largest || (mark & settings.epoch_bit) != settings.epoch ? 0 : number;
}

static inline __attribute__((always_inline)) struct sighting *find(u32 mark) {
  u32 number = handle(mark);
  return number ? map_lookup(&sightings, &number) : 0;
}

static inline __attribute__((always_inline)) u32 now(void) {
  u32 time = ktime() >> 10;
  return time ? time : 1;
}

enum place { OURS, FOREIGN, UNKNOWN };

static inline __attribute__((always_inline)) enum place whose(
    struct sk_buff *skb, struct net_device *device) {
  // A datagram in a socket's queue keeps other data in place of the device, and a packet that is
  // being sent has none before it is routed.
  const u64 kernel = 0x8000000000000000ULL;
  struct sock *socket = skb->sk;
  struct net *net = 0;
  if ((u64)device >= kernel) net = device->nd_net.net;
  else if (socket) net = socket->__sk_common.skc_net.net;
  if (!net) return UNKNOWN;
  return net->ns.inum == settings.netns ? OURS : FOREIGN;
}

/// Two processors may note something of copies of one packet at once.
static inline __attribute__((always_inline)) void note(struct sighting *sighting, u32 seen) {
  __sync_fetch_and_or(&sighting->seen, seen);
}

/// Joins an skb to its handle: the first one seen in our namespace is the packet itself.
static inline __attribute__((always_inline)) int join(
    struct sighting *sighting, struct sk_buff *skb, struct net_device *device) {
  u64 address = (u64)skb;
  enum place place = whose(skb, device);
  if (place == FOREIGN) {
    if (sighting->skb != address) return 0;
    sighting->ended = now();
    note(sighting, SEEN_LEFT);
    return 0;
  }
  if (sighting->skb == address) return 1;
  // At a socket of ours the namespace has been told.
  if (place == UNKNOWN && !(sighting->seen & SEEN_REACHED)) return 0;
  u64 first = __sync_val_compare_and_swap(&sighting->skb, 0, address);
  if (first && first != address) note(sighting, SEEN_SEVERAL);
  return 1;
}

SECTION("tp_btf/net_dev_start_xmit")
int start_xmit(u64 *context) {
  struct sk_buff *skb = (void *)context[0];
  struct net_device *device = (void *)context[1];
  u32 mark = skb->mark;
  if (!(mark & settings.field_mask)) return 0;
  struct sighting *sighting = find(mark);
  if (!sighting || !join(sighting, skb, device)) return 0;
  if (device->flags & 8) {  // IFF_LOOPBACK
    note(sighting, SEEN_LOOPED);
    return 0;
  }
  u32 index = device->ifindex;
  if (!sighting->sent) {
    sighting->sent = now();
    sighting->device = index;
  }
  // One packet can pass several devices that are stacked upon each other.
  int is_copy = sighting->device != index && sighting->skb != (u64)skb;
  note(sighting, is_copy ? SEEN_SENT | SEEN_DEVICES : SEEN_SENT);
  return 0;
}

SECTION("tp_btf/kfree_skb")
int kfree(u64 *context) {
  struct sk_buff *skb = (void *)context[0];
  u32 mark = skb->mark;
  if (!(mark & settings.field_mask)) return 0;
  struct sighting *sighting = find(mark);
  if (!sighting || !join(sighting, skb, skb->dev)) return 0;
  u32 reason = (u32)context[2];
  sighting->place = (u32)context[1];
  ((u16 *)&sighting->seen)[1] = SHORT_REASON(reason);
  sighting->ended = now();
  int is_purge = reason == settings.not_specified || reason == settings.queue_purge;
  int is_refusal = sighting->seen & SEEN_REACHED && !is_purge;
  note(sighting, is_refusal ? SEEN_DROPPED | SEEN_REFUSED : SEEN_DROPPED);
  return 0;
}

SECTION("tp_btf/consume_skb")
int consume(u64 *context) {
  struct sk_buff *skb = (void *)context[0];
  u32 mark = skb->mark;
  if (!(mark & settings.field_mask)) return 0;
  struct sighting *sighting = find(mark);
  // What a device does with its packet afterwards tells nothing more.
  if (!sighting || sighting->seen & SEEN_SENT || !join(sighting, skb, skb->dev)) return 0;
  sighting->ended = now();
  note(sighting, SEEN_FREED);
  return 0;
}

SECTION("tp_btf/skb_copy_datagram_iovec")
int read_by_program(u64 *context) {
  struct sk_buff *skb = (void *)context[0];
  u32 mark = skb->mark;
  if (!(mark & settings.field_mask)) return 0;
  struct sighting *sighting = find(mark);
  if (!sighting || !(sighting->seen & SEEN_REACHED)) return 0;
  if (!join(sighting, skb, skb->dev)) return 0;
  note(sighting, SEEN_READ);
  return 0;
}

/// Socket filters are given the skb as another type; what that hides is read here.
static inline __attribute__((always_inline)) int is_for_our_socket(struct sk_buff *skb) {
  struct sock *socket = 0;
  struct net *net = 0;
  u32 inode = 0;
  read_kernel(&socket, sizeof socket, __builtin_preserve_access_index(&skb->sk));
  read_kernel(
      &net, sizeof net, __builtin_preserve_access_index(&socket->__sk_common.skc_net.net));
  read_kernel(&inode, sizeof inode, __builtin_preserve_access_index(&net->ns.inum));
  return inode == settings.netns;
}

SECTION("cgroup_skb/ingress")
int reached(struct __sk_buff *context) {
  u32 mark = context->mark;
  if (!(mark & settings.field_mask)) return 1;
  struct sighting *sighting = find(mark);
  if (!sighting || !is_for_our_socket((void *)context)) return 1;
  if (!sighting->reached) sighting->reached = now();
  note(sighting, SEEN_REACHED);
  return 1;
}

// From here on: which buffers bear a handle, where the kernel lets its functions be followed.

/// The argument as a number: the verifier lets nobody calculate with the pointer.
static inline __attribute__((always_inline)) u64 address_of(u64 *argument) {
  u64 address = 0;
  read_kernel(&address, sizeof address, argument);
  return address;
}

/// The buffers that bear the handle of `skb`, which is one of them; notes `seen` of the handle.
static inline __attribute__((always_inline)) struct bearers *bearers_with(
    struct sk_buff *skb, u32 seen) {
  u32 mark = skb->mark;
  if (!(mark & settings.field_mask)) return 0;
  u32 number = handle(mark);
  struct sighting *sighting = find(mark);
  if (!sighting) return 0;
  // Where the namespace cannot be told, that of another bearer will do.
  if (!join(sighting, skb, skb->dev) &&
      (!sighting->skb ||
       (sighting->skb != (u64)skb && whose(skb, skb->dev) == FOREIGN)))
    return 0;
  if (seen) note(sighting, seen);
  return map_lookup(&bearers, &number);
}

/// `address` bears what `skb` bears.
static inline __attribute__((always_inline)) void come(struct sk_buff *skb, u64 address) {
  struct bearers *bearers = bearers_with(skb, SEEN_SEVERAL);
  if (!bearers) return;
  // The address may have been that of an earlier bearer.
  if (bearers->gone == (u32)address) bearers->gone = 0;
  bearers->came = (u32)address;
  __sync_fetch_and_add(&bearers->change, address);
}

/// `skb` bears nothing from now on.
static inline __attribute__((always_inline)) void go(struct sk_buff *skb, u64 address) {
  struct bearers *bearers = bearers_with(skb, 0);
  if (!bearers || bearers->gone == (u32)address) return;
  bearers->gone = (u32)address;
  __sync_fetch_and_add(&bearers->change, -address);
}

/// Copies, clones and segments take the mark over with the rest of the head.
SECTION("fentry/__copy_skb_header")
int head_copied(u64 *context) {
  come((void *)context[1], address_of(&context[0]));
  return 0;
}

/// Fragments take it over by itself; those that were fragments before may have had one.
static inline __attribute__((always_inline)) int fragmented(u64 *context) {
  struct sk_buff *to = (void *)context[0], *from = (void *)context[1];
  if (to->mark == from->mark) return 0;
  go(to, address_of(&context[0]));
  come(from, address_of(&context[0]));
  return 0;
}

SECTION("fentry/ip_copy_metadata")
int fragmented_ipv4(u64 *context) { return fragmented(context); }

SECTION("fentry/ip6_copy_metadata")
int fragmented_ipv6(u64 *context) { return fragmented(context); }

/// All but the datagrams below give up what their head holds when they are freed.
SECTION("fentry/skb_release_head_state")
int head_released(u64 *context) {
  go((void *)context[0], address_of(&context[0]));
  return 0;
}

/// A datagram that was read, whose head may have been released just before.
SECTION("fentry/__consume_stateless_skb")
int datagram_freed(u64 *context) {
  go((void *)context[0], address_of(&context[0]));
  return 0;
}

/// A buffer whose data went over to another while packets of one flow were merged.
SECTION("fentry/napi_skb_free_stolen_head")
int head_stolen(u64 *context) {
  go((void *)context[0], address_of(&context[0]));
  return 0;
}

/// A packet that leaves for another network namespace loses its mark on the way.
SECTION("fentry/skb_scrub_packet")
int scrubbed(u64 *context) {
  if (context[1] & 0xff) go((void *)context[0], address_of(&context[0]));
  return 0;
}

static inline __attribute__((always_inline)) int count_copy(u64 *context, u64 copy, u32 one) {
  if (!copy) return 0;
  struct bearers *bearers = bearers_with((void *)context[0], 0);
  if (!bearers) return 0;
  // The kernel leaves a program out that has been interrupted on the same processor.
  if (bearers->came != (u32)copy) __sync_fetch_and_or(&bearers->change, 1);
  bearers->copied = now();
  __sync_fetch_and_add(&bearers->copies, one);
  return 0;
}

SECTION("fexit/skb_clone")
int cloned(u64 *context) { return count_copy(context, context[2], 1); }

SECTION("fexit/skb_copy")
int duplicated(u64 *context) { return count_copy(context, context[2], 1 << 16); }

SECTION("fexit/__pskb_copy_fclone")
int duplicated_in_part(u64 *context) { return count_copy(context, context[4], 1 << 16); }

char LICENSE[] SECTION("license") = "GPL";
