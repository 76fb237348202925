package trace

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// Packet is a datagram for a capture file.
type Packet struct {
	At       time.Time
	Source   netip.AddrPort
	Dest     netip.AddrPort
	Contents []byte
}

// Packet returns the message as a datagram. Messages of streams become datagrams too: the file is read by tools that
// want whole messages, not segments, and TLS ones are in clear only here.
func (m Message) Packet() Packet {
	p := Packet{At: m.At, Source: m.Flow.Local, Dest: m.Flow.Remote, Contents: m.Text}
	if m.In {
		p.Source, p.Dest = p.Dest, p.Source
	}
	return p
}

const (
	pcapMagic     = 0xa1b2c3d4 // microseconds
	linkRaw       = 101        // LINKTYPE_RAW: packets begin with an IP header
	longestPacket = 65535
	ipv6UDP       = 48 // the longest headers that ipPacket makes
)

// WritePCAP writes a capture file (the classic format, which every tool reads), packets in the order of time. What does
// not fit into a datagram is cut; the original length stays in its record.
func WritePCAP(w io.Writer, packets []Packet) error {
	packets = slices.Clone(packets)
	slices.SortStableFunc(packets, func(x, y Packet) int { return x.At.Compare(y.At) })
	file := make([]byte, 0, 24)
	file = binary.LittleEndian.AppendUint32(file, pcapMagic)
	file = binary.LittleEndian.AppendUint16(file, 2) // version 2.4
	file = binary.LittleEndian.AppendUint16(file, 4)
	file = append(file, make([]byte, 8)...) // zone and accuracy: nobody uses them
	file = binary.LittleEndian.AppendUint32(file, longestPacket)
	file = binary.LittleEndian.AppendUint32(file, linkRaw)
	for _, p := range packets {
		file = appendPCAP(file, p)
	}
	if _, err := w.Write(file); err != nil {
		return fmt.Errorf("capture file: %w", err)
	}
	return nil
}

func appendPCAP(file []byte, p Packet) []byte {
	contents := p.Contents[:min(len(p.Contents), longestPacket-ipv6UDP)]
	frame := ipPacket(p.Source, p.Dest, contents)
	file = binary.LittleEndian.AppendUint32(file, uint32(p.At.Unix()))                              //nolint:gosec // the format's width
	file = binary.LittleEndian.AppendUint32(file, uint32(p.At.Nanosecond()/1000))                   //nolint:gosec // below a million
	file = binary.LittleEndian.AppendUint32(file, uint32(len(frame)))                               //nolint:gosec // below 64 KiB
	file = binary.LittleEndian.AppendUint32(file, uint32(len(frame)+len(p.Contents)-len(contents))) //nolint:gosec // messages are bounded
	return append(file, frame...)
}

// ipPacket puts a datagram into IP and UDP. The UDP checksum of IPv4 stays zero (RFC 768: none); that of IPv6 is needed
// (RFC 8200 §8.1).
func ipPacket(source, dest netip.AddrPort, contents []byte) []byte {
	from, to := source.Addr().Unmap(), dest.Addr().Unmap()
	udp := make([]byte, 8, 8+len(contents))
	binary.BigEndian.PutUint16(udp[0:], source.Port())
	binary.BigEndian.PutUint16(udp[2:], dest.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(contents))) //nolint:gosec // cut to fit
	udp = append(udp, contents...)
	if from.Is4() && to.Is4() {
		ip := make([]byte, 20, 20+len(udp))
		ip[0], ip[8], ip[9] = 0x45, 64, protocolUDP
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(udp))) //nolint:gosec // cut to fit
		copy(ip[12:], from.AsSlice())
		copy(ip[16:], to.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], ^sum16(0, ip))
		return append(ip, udp...)
	}
	from16, to16 := from.As16(), to.As16()
	ip := make([]byte, 40, 40+len(udp))
	ip[0], ip[6], ip[7] = 0x60, protocolUDP, 64
	binary.BigEndian.PutUint16(ip[4:], uint16(len(udp))) //nolint:gosec // cut to fit
	copy(ip[8:], from16[:])
	copy(ip[24:], to16[:])
	partial := sum16(0, ip[8:40])
	partial = sum16(uint32(partial), []byte{0, 0, 0, protocolUDP, 0, 0, udp[4], udp[5]})
	check := ^sum16(uint32(partial), udp)
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], check)
	return append(ip, udp...)
}

// sum16 is the Internet checksum's sum (RFC 1071).
func sum16(sum uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum) //nolint:gosec // folded
}
