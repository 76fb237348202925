package venue

import (
	"errors"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// marked sends each packet with the DSCP that a browser's networkPriority gives it (RFC 8837): EF for
// the voice, AF41 for pictures, CS3 for what sets the connection up.
type marked struct {
	*net.UDPConn
	voice, picture, setup []byte // control messages
}

const (
	tosVoice   = 46 << 2
	tosPicture = 34 << 2
	tosSetup   = 24 << 2
	opusType   = 111
)

var errAddress = errors.New("not a UDP address")

func mark(conn *net.UDPConn) *marked {
	return &marked{UDPConn: conn, voice: tosControl(tosVoice), picture: tosControl(tosPicture), setup: tosControl(tosSetup)}
}

func tosControl(tos int32) []byte {
	b := make([]byte, unix.CmsgSpace(4))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0])) //nolint:gosec // the kernel's layout
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_TOS
	h.SetLen(unix.CmsgLen(4))
	*(*int32)(unsafe.Pointer(&b[unix.CmsgLen(0)])) = tos //nolint:gosec // the kernel's layout
	return b
}

// WriteTo implements net.PacketConn.
func (m *marked) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, errAddress
	}
	return m.WriteToAddrPort(b, addr.AddrPort())
}

// WriteToAddrPort is what pion's mux prefers.
func (m *marked) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n, _, err := m.WriteMsgUDPAddrPort(b, m.control(b), to)
	return n, err //nolint:wrapcheck // as of the socket itself
}

// ReadFromAddrPort is what pion's mux prefers.
func (m *marked) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return m.ReadFromUDPAddrPort(b) //nolint:wrapcheck // as of the socket itself
}

// control goes by the clear RTP header (RFC 7983, RFC 5761).
func (m *marked) control(b []byte) []byte {
	switch {
	case len(b) < 12 || b[0] < 128 || b[0] > 191:
		return m.setup
	case b[1] >= 192 && b[1] <= 223:
		return m.picture
	case b[1]&0x7f == opusType:
		return m.voice
	}
	return m.picture
}
