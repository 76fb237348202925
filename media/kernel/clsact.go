package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Kernels before 6.6 attach programs through netlink (rtnetlink(7), tc-bpf(8)): a clsact queueing discipline, and a
// filter of kind bpf at its ingress.

const (
	clsactHandle  = 0xffff0000
	clsactParent  = 0xfffffff1 // TC_H_CLSACT
	clsactIngress = 0xfffffff2
	priorityBits  = 16
	ourPriority   = 0x4c48 // in the order of the device's filters: late, where scripts put nothing

	tcaKind        = 1
	tcaOptions     = 2
	tcaBPFFD       = 6
	tcaBPFName     = 7
	tcaBPFFlags    = 8
	tcaBPFDirect   = 1
	tcMessageBytes = 20
)

var native = binary.NativeEndian

// attachFilter puts the program at the ingress of a device, or replaces our older one there.
func attachFilter(index, program int, handle uint32) error {
	qdisc := attribute(nil, tcaKind, []byte("clsact\x00"))
	err := request(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, clsactHandle, clsactParent, 0, qdisc)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("clsact: %w", err)
	}
	options := attribute(nil, tcaBPFFD, native.AppendUint32(nil, uint32(program))) //nolint:gosec // a descriptor
	options = attribute(options, tcaBPFName, []byte("linehall\x00"))
	options = attribute(options, tcaBPFFlags, native.AppendUint32(nil, tcaBPFDirect))
	filter := attribute(attribute(nil, tcaKind, []byte("bpf\x00")), tcaOptions, options)
	if err := request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, index, handle, clsactIngress, info(), filter); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	return nil
}

// detachFilter removes our filter; the queueing discipline stays, others may use it.
func detachFilter(index int, handle uint32) error {
	return request(unix.RTM_DELTFILTER, 0, index, handle, clsactIngress, info(), attribute(nil, tcaKind, []byte("bpf\x00")))
}

// info is priority and protocol of a filter.
func info() uint32 { return ourPriority<<priorityBits | uint32(port(unix.ETH_P_ALL)) }

// attribute appends |length 2|type 2|value|, padded to four bytes.
func attribute(to []byte, kind uint16, value []byte) []byte {
	to = native.AppendUint16(to, uint16(unix.SizeofRtAttr+len(value))) //nolint:gosec // short
	to = native.AppendUint16(to, kind)
	to = append(to, value...)
	for len(to)%4 != 0 {
		to = append(to, 0)
	}
	return to
}

// request sends |nlmsghdr 16|tcmsg 20|attributes| and waits for the answer.
func request(kind, flags uint16, index int, handle, parent, info uint32, attributes []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	b := native.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+tcMessageBytes+len(attributes))) //nolint:gosec // short
	b = native.AppendUint16(b, kind)
	b = native.AppendUint16(b, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b = native.AppendUint32(b, 1) // sequence
	b = native.AppendUint32(b, 0) // to the kernel
	b = native.AppendUint32(b, unix.AF_UNSPEC)
	b = native.AppendUint32(b, uint32(index)) //nolint:gosec // of a device
	b = native.AppendUint32(b, handle)
	b = native.AppendUint32(b, parent)
	b = native.AppendUint32(b, info)
	b = append(b, attributes...)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	if n < unix.SizeofNlMsghdr+4 || native.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("netlink: no answer to the request")
	}
	if code := int32(native.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 { //nolint:gosec // a negative errno
		return unix.Errno(-code)
	}
	return nil
}
