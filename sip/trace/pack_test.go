package trace

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linehall/sip/stack"
)

func examples() []Message {
	flow := stack.Flow{Transport: stack.TLS, Local: netip.MustParseAddrPort("[2001:db8::1]:5061"), Remote: netip.MustParseAddrPort("192.0.2.7:1024")}
	start := time.UnixMicro(1_780_000_000_123_456)
	return []Message{
		{At: start, In: true, Flow: flow, Text: []byte("INVITE sip:8101@linehall.test SIP/2.0\r\nCall-ID: a\r\n\r\n")},
		{At: start.Add(1500 * time.Microsecond), Flow: stack.Flow{Transport: stack.UDP, Remote: flow.Remote}, Text: []byte("SIP/2.0 100 Trying\r\n\r\n")},
		{At: start.Add(-time.Millisecond), In: true, Flow: flow, Text: []byte{}}, // clocks may be set back
	}
}

func TestPacked(t *testing.T) {
	p, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the packer serves again
		got, err := unpack(p.pack(examples()))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(examples(), got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Error(diff)
		}
	}
}

// What a damaged disk gives back is an error, nothing worse.
func FuzzUnpack(f *testing.F) {
	p, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	good := p.pack(examples())
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(p.z.EncodeAll(p.raw[:len(p.raw)-3], nil))
	f.Fuzz(func(t *testing.T, packed []byte) {
		messages, err := unpack(packed)
		if err == nil {
			if again, err := unpack(p.pack(messages)); err != nil || len(again) != len(messages) {
				t.Errorf("%d messages became %d, %v", len(messages), len(again), err)
			}
		}
	})
}
