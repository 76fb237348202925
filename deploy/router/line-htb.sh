#!/bin/sh
# line-htb.sh DEVICE KBIT: a leased line's queue on a Linux router, for the device that sends into the line; the same on both
# ends. It goes by DSCP, as the appliance, telephones and room pages mark their packets:
#
#   EF          voice of calls and meetings   first, up to 60 % of the line whatever else there is
#   CS3         signalling                    5 %
#   AF41, AF31  cameras and shared screens    20 %, and what voices leave of theirs
#   the rest    the office                    15 % at least, and whatever is free
#
# KBIT is the contract less 2 %, so that packets wait here, in order of importance, and not in the carrier's equipment.
# `line-htb.sh DEVICE off` takes it away.
set -eu
device=$1
kbit=$2
tc qdisc del dev "$device" root 2>/dev/null || true
[ "$kbit" = off ] && exit 0

# Two full packets, or what the line carries in 2 ms.
burst=$((kbit / 4))
[ "$burst" -ge 3100 ] || burst=3100

tc qdisc add dev "$device" root handle 1: htb default 40
tc class add dev "$device" parent 1: classid 1:1 htb rate "${kbit}kbit" ceil "${kbit}kbit" burst "$burst" cburst "$burst"

class() { # number percent priority
	tc class add dev "$device" parent 1:1 classid "1:$1" htb rate "$((kbit * $2 / 100))kbit" ceil "${kbit}kbit" \
		burst "$burst" cburst "$burst" quantum 1600 prio "$3"
}
class 10 60 0
class 20 5 1
class 30 20 2
class 40 15 3
tc qdisc add dev "$device" parent 1:10 handle 10: pfifo limit 100
tc qdisc add dev "$device" parent 1:20 handle 20: pfifo limit 100
tc qdisc add dev "$device" parent 1:30 handle 30: pfifo limit 200
# The office's flows share fairly and keep their queue short, where the kernel can.
tc qdisc add dev "$device" parent 1:40 handle 40: fq_codel 2>/dev/null ||
	tc qdisc add dev "$device" parent 1:40 handle 40: sfq perturb 10 limit 60 2>/dev/null ||
	tc qdisc add dev "$device" parent 1:40 handle 40: pfifo limit 60

mark() { # dscp class
	tos=$(($1 * 4))
	tc filter add dev "$device" parent 1: protocol ip prio 1 u32 match ip dsfield "$tos" 0xfc flowid "1:$2"
	tc filter add dev "$device" parent 1: protocol ipv6 prio 2 u32 match ip6 priority "$tos" 0xfc flowid "1:$2"
}
mark 46 10 # EF
mark 24 20 # CS3
mark 34 30 # AF41
mark 26 30 # AF31
