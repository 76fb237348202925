package registrar_test

import (
	"context"
	"testing"
	"time"

	"linehall/sip/location"
	"linehall/sip/registrar"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// The NAT in front of a phone is held open; a phone without one is left alone.
func TestKeepAliveThroughNAT(t *testing.T) {
	a := run(t, func(_ *stack.Options, ro *registrar.Options, _ *location.Options) {
		ro.KeepAlive = 20 * time.Millisecond
	})
	behind := newPhone(t, stacktest.DialUDP(t, a.addr(stack.UDP)), "8001")
	open := newPhone(t, stacktest.DialUDP(t, a.addr(stack.UDP)), "8002")
	if m := behind.register("Contact: <sip:8001@192.168.1.20:5060>"); m.Code != 200 {
		t.Fatal(m.Raw)
	}
	if m := open.register("Contact: " + open.contact()); m.Code != 200 {
		t.Fatal(m.Raw)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.reg.Run(ctx) }()
	for range 3 {
		if m, ok := behind.Read(5 * time.Second); !ok || m.Raw != "\r\n\r\n" {
			t.Fatalf("got %q", m.Raw)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	open.Silent(50 * time.Millisecond)
}
