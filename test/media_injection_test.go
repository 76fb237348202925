package test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"linehall/cmd/linesim/phone"
)

// A stranger who knows the ports of a relayed call sends RTP into both legs: nobody hears it, and the sound of the call
// keeps going to its parties and to nobody else.
func TestInjectedRTPIsNeitherHeardNorFollowed(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	d := newDesks(t, a)
	near, far := d.at("8001", 51), d.in(1, "2001", 51)
	far.answers(phone.Reaction{})
	by, to := near.talksTo("2001", far)
	talk(t, "before", by, to)
	thief, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.9.9:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	const packets = 200
	b := make([]byte, 172)
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint32(b[8:], 0xbad)
	for i := range packets {
		binary.BigEndian.PutUint16(b[2:], uint16(i))
		binary.BigEndian.PutUint32(b[4:], uint32(160*i))
		for _, leg := range []netip.AddrPort{by.Remote(), to.Remote()} {
			if _, err := thief.WriteToUDPAddrPort(b, leg); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Millisecond) // between its packets there are some of the call
	}
	for _, end := range []party{by, to} {
		if s := end.Stats(); s.Foreign+s.Other > 0 {
			t.Errorf("%s heard %d packets of others", end.extension, s.Foreign+s.Other)
		}
	}
	talk(t, "afterwards", by, to)
	if err := thief.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, from, err := thief.ReadFromUDPAddrPort(b); err == nil {
		t.Errorf("the stranger got %d bytes from %v", n, from)
	}
	if got := a.metric("linehall_dropped_total", `listener="rtp"`, `reason="foreign_source"`); got < 2*packets {
		t.Errorf("%v packets were counted as foreign, want at least %d", got, 2*packets)
	}
	hangUp(t, by, to)
}
