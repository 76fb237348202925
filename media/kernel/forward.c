//go:build ignore

// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// The kernel path of the relay: packets of flows that userspace entered are counted, rewritten and sent on where they
// arrive (tc ingress). Everything else goes on to the sockets, with every doubt: this program drops nothing.
//
//	1 look      IPv4 or IPv6 without options or fragments, UDP, for this host; an RTP header that is whole
//	2 find      the flow of (destination, source); its slot of counters
//	3 route     as if the packet were sent from here: forwarding of "lo" must be on, no other device's
//	4 count     RFC 3550 A.1, A.3 and A.8, step by step as media/rtcp.Reception does it; model_test.go compares them
//	5 rewrite   addresses, ports, DSCP, TTL, checksums
//	6 send      through the neighbour table, which keeps asking for the next hop as for any packet of this host
//
// Layouts are shared with Go (bpf2go makes the types); all times are CLOCK_MONOTONIC.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define NEXT (-1) // TC_ACT_UNSPEC and TCX_NEXT: whoever comes after us, then the stack
#define FAMILY4 2 // AF_INET
#define FAMILY6 10
#define LOOPBACK 1 // ifindex of "lo" in every network namespace

#define RTP_HEADER 12
#define MAX_DROPOUT 3000 // media/rtcp says where these come from
#define MAX_MISORDER 100
#define SEQ_MOD 65536
#define NO_BAD_SEQ (SEQ_MOD + 1)
#define SECOND 1000000000ULL
#define MINUTE (60 * SECOND)

// Why a packet of a flow goes up to the sockets after all.
enum returned {
	NO_ROUTE,
	LOCAL,       // to an address of this host
	NO_FORWARD,  // forwarding of "lo" is off
	NO_NEIGHBOUR,
	TOO_BIG,
	LAST_HOP,    // TTL
	REASONS,
};

// An IPv4 address is the first word, the others are zero. Ports are in network order.
struct key {
	__be32 dst[4];
	__be32 src[4];
	__be16 dst_port;
	__be16 src_port;
	__u32 family;
};

struct rule {
	__be32 src[4];
	__be32 dst[4];
	__be16 src_port;
	__be16 dst_port;
	__u32 slot;
	__u32 priority; // of the packet in this host's queues
	__u8 tos;       // DSCP in the upper six bits
	__u8 unused[3];
	__u32 clock[128]; // Hz per payload type, 0: not known
};

struct slot {
	struct bpf_spin_lock lock;
	__u32 ssrc;
	__u64 packets;
	__u64 bytes; // with IP and UDP headers
	__u64 received; // of this source, since base_seq
	__u64 lost_old; // of sources before it
	__u64 last_at;  // when the timestamp changed
	__u64 jitter;   // nanoseconds, scaled by 16
	__u64 arrival;
	__u32 cycles;
	__u32 base_seq;
	__u32 bad_seq;
	__u32 max_seq;
	__u32 clock;
	__u32 last_ts;
	__u32 sources;
	__u16 last_seq;
	__u8 type;
	__u8 started;
	__u32 returned[REASONS];
};

struct control {
	__u64 until; // nobody forwards after that, unless a process says so again
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); // userspace sets the sizes
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct key);
	__type(value, struct rule);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} controls SEC(".maps");

struct rtp {
	__u8 first;
	__u8 type;
	__be16 seq;
	__be32 timestamp;
	__be32 ssrc;
};

// in_memory makes the first size bytes of the packet readable.
static __always_inline int in_memory(struct __sk_buff *skb, __u32 size)
{
	if ((void *)(long)skb->data + size <= (void *)(long)skb->data_end)
		return 1;
	return bpf_skb_pull_data(skb, size) == 0;
}

// whole tells whether a UDP payload of size bytes at offset is RTP, and not shorter than its header says.
static __always_inline int whole(struct __sk_buff *skb, const struct rtp *h, __u32 offset, __u32 size)
{
	__u32 header = RTP_HEADER + 4 * (h->first & 0x0f);
	__be16 words;

	if (h->first >> 6 != 2 || (h->type >= 192 && h->type <= 223)) // RTCP (RFC 5761 §4)
		return 0;
	if (h->first & 0x10) {
		header += 4;
		if (header > size || bpf_skb_load_bytes(skb, offset + header - 2, &words, sizeof(words)))
			return 0;
		header += 4 * bpf_ntohs(words);
	}
	return header <= size;
}

static __always_inline void restart(struct slot *s, __u32 ssrc, __u32 seq)
{
	if (s->started) {
		__u64 expected = (__u64)(__u32)(s->cycles + s->max_seq - s->base_seq) + 1;
		if (expected > s->received)
			s->lost_old += expected - s->received;
	}
	s->started = 1;
	s->ssrc = ssrc;
	s->max_seq = seq;
	s->cycles = 0;
	s->base_seq = seq;
	s->bad_seq = NO_BAD_SEQ;
	s->received = 0;
	s->clock = 0;
	s->sources++;
}

static __always_inline void sequence(struct slot *s, __u32 ssrc, __u32 seq)
{
	__u32 delta = (seq - s->max_seq) & (SEQ_MOD - 1);

	if (!s->started || s->ssrc != ssrc) {
		restart(s, ssrc, seq);
	} else if (delta < MAX_DROPOUT) {
		if (seq < s->max_seq)
			s->cycles += SEQ_MOD;
		s->max_seq = seq;
		s->bad_seq = NO_BAD_SEQ;
	} else if (delta <= SEQ_MOD - MAX_MISORDER) {
		if (seq != s->bad_seq) {
			s->bad_seq = (seq + 1) & (SEQ_MOD - 1);
			return; // no count of expected packets covers it
		}
		restart(s, ssrc, seq);
	}
	s->received++;
}

static __always_inline void transit(struct slot *s, __u64 now, __u32 timestamp, __u8 type, __u32 clock)
{
	int comparable = s->clock == clock && s->type == type;
	__s32 ticks = timestamp - s->last_ts;
	__u64 nanos;
	__s64 d;

	if (!clock)
		return;
	if (comparable && ticks) {
		nanos = (__u64)(ticks < 0 ? -(__s64)ticks : ticks) * SECOND / clock;
		d = now - s->last_at;
		d = ticks < 0 ? d + nanos : d - nanos;
		if (d < 0)
			d = -d;
		if ((__u64)d < MINUTE)
			s->jitter += d - ((s->jitter + 8) >> 4);
	}
	if (!comparable || ticks) {
		s->clock = clock;
		s->type = type;
		s->last_ts = timestamp;
		s->last_at = now;
	}
}

static __always_inline void count(struct slot *s, __u64 now, const struct rtp *h, __u32 clock, __u32 bytes)
{
	__u32 ssrc = bpf_ntohl(h->ssrc), timestamp = bpf_ntohl(h->timestamp), seq = bpf_ntohs(h->seq);

	bpf_spin_lock(&s->lock);
	sequence(s, ssrc, seq);
	transit(s, now, timestamp, h->type & 0x7f, clock);
	s->packets++;
	s->bytes += bytes;
	s->last_seq = seq;
	s->arrival = now;
	bpf_spin_unlock(&s->lock);
}

static __always_inline int up(struct slot *s, enum returned why)
{
	__sync_fetch_and_add(&s->returned[why], 1);
	return NEXT;
}

static __always_inline int no_route(struct slot *s, long rc)
{
	switch (rc) {
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		return up(s, LOCAL);
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return up(s, NO_FORWARD);
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return up(s, NO_NEIGHBOUR);
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return up(s, TOO_BIG);
	default:
		return up(s, NO_ROUTE);
	}
}

// alive tells whether a process stands behind the rules, or did so lately.
static __always_inline int alive(__u64 now)
{
	__u32 zero = 0;
	struct control *c = bpf_map_lookup_elem(&controls, &zero);

	return c && now < c->until;
}

static __always_inline int send(const struct bpf_fib_lookup *fib)
{
	struct bpf_redir_neigh hop = {.nh_family = fib->family};

	__builtin_memcpy(hop.ipv6_nh, fib->ipv6_dst, sizeof(hop.ipv6_nh));
	return bpf_redirect_neigh(fib->ifindex, &hop, sizeof(hop), 0);
}

// dress takes off what the packet must not carry on: a priority tag (VLAN 0) and the padding of a short frame.
static __always_inline int dress(struct __sk_buff *skb, __u32 frame, __u32 priority)
{
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return 0;
	if (skb->len > frame && bpf_skb_change_tail(skb, frame, 0))
		return 0;
	skb->priority = priority;
	return 1;
}

// checksum brings the UDP checksum up to date: addresses are part of the pseudo header, which is all that is summed up
// so far when a device is to do the rest; ports are not.
static __always_inline int checksum(struct __sk_buff *skb, __u32 offset, __s64 addresses, __s64 ports)
{
	return bpf_l4_csum_replace(skb, offset, 0, addresses, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0) ||
	       bpf_l4_csum_replace(skb, offset, 0, ports, BPF_F_MARK_MANGLED_0);
}

// mark puts a DSCP over that of the packet and leaves the congestion bits (RFC 3168).
static __always_inline __u8 mark(__u8 was, __u8 tos) { return (was & 3) | (tos & ~3); }

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

// ports writes the new ports and returns by what they change a checksum.
static __always_inline __s64 ports(struct udphdr *udp, const struct rule *rule)
{
	__be16 was[2] = {udp->source, udp->dest}, is[2] = {rule->src_port, rule->dst_port};

	udp->source = is[0];
	udp->dest = is[1];
	return bpf_csum_diff((__be32 *)was, sizeof(was), (__be32 *)is, sizeof(is), 0);
}

static __always_inline int forward4(struct __sk_buff *skb)
{
	const __u32 udp_at = ETH_HLEN + sizeof(struct iphdr), rtp_at = udp_at + sizeof(struct udphdr);
	struct bpf_fib_lookup fib = {.family = FAMILY4, .l4_protocol = IPPROTO_UDP, .ifindex = LOOPBACK};
	struct key key = {.family = FAMILY4};
	__be32 was[5], is[5];
	struct iphdr *ip;
	struct udphdr *udp;
	struct rule *rule;
	struct slot *slot;
	struct rtp rtp;
	__s64 addresses, others;
	__u32 length;
	__u64 now;
	long rc;

	if (!in_memory(skb, rtp_at + sizeof(rtp)))
		return NEXT;
	ip = (void *)(long)skb->data + ETH_HLEN;
	udp = (void *)(ip + 1);
	if ((void *)(udp + 1) + sizeof(rtp) > (void *)(long)skb->data_end)
		return NEXT;
	if (ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP || ip->frag_off & bpf_htons(0x3fff))
		return NEXT;
	key.dst[0] = ip->daddr;
	key.src[0] = ip->saddr;
	key.dst_port = udp->dest;
	key.src_port = udp->source;
	rule = bpf_map_lookup_elem(&rules, &key);
	if (!rule)
		return NEXT;
	slot = bpf_map_lookup_elem(&slots, &rule->slot);
	now = bpf_ktime_get_ns();
	if (!slot || !alive(now))
		return NEXT;
	length = bpf_ntohs(ip->tot_len);
	if (length < rtp_at - ETH_HLEN + sizeof(rtp) || ETH_HLEN + length > skb->len || bpf_ntohs(udp->len) != length - sizeof(*ip))
		return NEXT;
	__builtin_memcpy(&rtp, udp + 1, sizeof(rtp));
	if (!whole(skb, &rtp, rtp_at, ETH_HLEN + length - rtp_at))
		return NEXT;
	if (ip->ttl <= 1)
		return up(slot, LAST_HOP);

	fib.tos = rule->tos;
	fib.sport = rule->src_port;
	fib.dport = rule->dst_port;
	fib.tot_len = length;
	fib.ipv4_src = rule->src[0];
	fib.ipv4_dst = rule->dst[0];
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (rc != BPF_FIB_LKUP_RET_SUCCESS)
		return no_route(slot, rc);

	if (!dress(skb, ETH_HLEN + length, rule->priority))
		return NEXT;
	ip = (void *)(long)skb->data + ETH_HLEN;
	udp = (void *)(ip + 1);
	if ((void *)(udp + 1) > (void *)(long)skb->data_end)
		return NEXT;
	__builtin_memcpy(was, ip, sizeof(was));
	ip->tos = mark(ip->tos, rule->tos);
	ip->ttl--;
	ip->saddr = rule->src[0];
	ip->daddr = rule->dst[0];
	__builtin_memcpy(is, ip, sizeof(is));
	ip->check = fold(bpf_csum_diff(was, sizeof(was), is, sizeof(is), (__u16)~ip->check));
	addresses = bpf_csum_diff(was + 3, 2 * sizeof(__be32), is + 3, 2 * sizeof(__be32), 0);
	others = ports(udp, rule);
	if (checksum(skb, udp_at + offsetof(struct udphdr, check), addresses, others))
		return NEXT;
	count(slot, now, &rtp, rule->clock[rtp.type & 0x7f], length);
	return send(&fib);
}

// traffic_class is in bits 4..11 of the header.
static __always_inline void mark6(struct ipv6hdr *ip, __u8 tos)
{
	__u8 class = mark((ip->priority << 4) | (ip->flow_lbl[0] >> 4), tos);

	ip->priority = class >> 4;
	ip->flow_lbl[0] = (ip->flow_lbl[0] & 0x0f) | (class << 4);
}

static __always_inline int forward6(struct __sk_buff *skb)
{
	const __u32 udp_at = ETH_HLEN + sizeof(struct ipv6hdr), rtp_at = udp_at + sizeof(struct udphdr);
	struct bpf_fib_lookup fib = {.family = FAMILY6, .l4_protocol = IPPROTO_UDP, .ifindex = LOOPBACK};
	struct key key = {.family = FAMILY6};
	__be32 was[8], is[8];
	struct ipv6hdr *ip;
	struct udphdr *udp;
	struct rule *rule;
	struct slot *slot;
	struct rtp rtp;
	__s64 addresses, others;
	__u32 length; // behind the IP header
	__u64 now;
	long rc;

	if (!in_memory(skb, rtp_at + sizeof(rtp)))
		return NEXT;
	ip = (void *)(long)skb->data + ETH_HLEN;
	udp = (void *)(ip + 1);
	if ((void *)(udp + 1) + sizeof(rtp) > (void *)(long)skb->data_end)
		return NEXT;
	if (ip->version != 6 || ip->nexthdr != IPPROTO_UDP || !udp->check) // RFC 8200 §8.1
		return NEXT;
	__builtin_memcpy(key.dst, &ip->daddr, sizeof(key.dst));
	__builtin_memcpy(key.src, &ip->saddr, sizeof(key.src));
	key.dst_port = udp->dest;
	key.src_port = udp->source;
	rule = bpf_map_lookup_elem(&rules, &key);
	if (!rule)
		return NEXT;
	slot = bpf_map_lookup_elem(&slots, &rule->slot);
	now = bpf_ktime_get_ns();
	if (!slot || !alive(now))
		return NEXT;
	length = bpf_ntohs(ip->payload_len);
	if (length < sizeof(*udp) + sizeof(rtp) || udp_at + length > skb->len || bpf_ntohs(udp->len) != length)
		return NEXT;
	__builtin_memcpy(&rtp, udp + 1, sizeof(rtp));
	if (!whole(skb, &rtp, rtp_at, length - sizeof(*udp)))
		return NEXT;
	if (ip->hop_limit <= 1)
		return up(slot, LAST_HOP);

	fib.flowinfo = bpf_htonl((__u32)rule->tos << 20);
	fib.sport = rule->src_port;
	fib.dport = rule->dst_port;
	fib.tot_len = sizeof(*ip) + length;
	__builtin_memcpy(fib.ipv6_src, rule->src, sizeof(fib.ipv6_src));
	__builtin_memcpy(fib.ipv6_dst, rule->dst, sizeof(fib.ipv6_dst));
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (rc != BPF_FIB_LKUP_RET_SUCCESS)
		return no_route(slot, rc);

	if (!dress(skb, udp_at + length, rule->priority))
		return NEXT;
	ip = (void *)(long)skb->data + ETH_HLEN;
	udp = (void *)(ip + 1);
	if ((void *)(udp + 1) > (void *)(long)skb->data_end)
		return NEXT;
	__builtin_memcpy(was, &ip->saddr, sizeof(was));
	__builtin_memcpy(is, rule->src, sizeof(rule->src));
	__builtin_memcpy(is + 4, rule->dst, sizeof(rule->dst));
	mark6(ip, rule->tos);
	ip->hop_limit--;
	__builtin_memcpy(&ip->saddr, is, sizeof(is));
	addresses = bpf_csum_diff(was, sizeof(was), is, sizeof(is), 0);
	others = ports(udp, rule);
	if (checksum(skb, udp_at + offsetof(struct udphdr, check), addresses, others))
		return NEXT;
	count(slot, now, &rtp, rule->clock[rtp.type & 0x7f], sizeof(*ip) + length);
	return send(&fib);
}

SEC("tc")
int forward(struct __sk_buff *skb)
{
	// A frame of a VLAN comes again, on that VLAN's device. One that is several datagrams belongs to the sockets.
	if (skb->pkt_type != PACKET_HOST || skb->gso_size || (skb->vlan_present && skb->vlan_tci & 0x0fff))
		return NEXT;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return forward4(skb);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return forward6(skb);
	return NEXT;
}

char _license[] SEC("license") = "GPL"; // bpf_fib_lookup asks for it
