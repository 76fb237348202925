package test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"linehall/cmd/linesim/phone"
)

// Two relayed calls while the process is killed and started again: the ports never answer with ICMP port unreachable, and
// the sound is back within a second.
func TestMediaSurvivesKill9(t *testing.T) {
	a := startAppliance(t)
	d := newDesks(t, a)
	type pair struct{ by, to party }
	var calls []pair
	for i, extension := range []string{"8001", "8002"} {
		near, far := d.at(extension, byte(41+i)), d.in(1, []string{"2001", "2002"}[i], byte(41+i))
		far.answers(phone.Reaction{})
		by, to := near.talksTo([]string{"2001", "2002"}[i], far)
		talk(t, "before", by, to)
		calls = append(calls, pair{by, to})
	}
	var refused, sent atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	var ports []*net.UDPConn
	for _, c := range calls {
		for _, end := range []party{c.by, c.to} {
			for _, to := range []netip.AddrPort{end.Remote(), netip.AddrPortFrom(end.Remote().Addr(), end.Remote().Port()+1)} {
				conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				ports = append(ports, conn)
			}
		}
	}
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for _, conn := range ports {
				sent.Add(1)
				if _, err := conn.Write([]byte{0x80, 8, 0, 1}); errors.Is(err, syscall.ECONNREFUSED) {
					refused.Add(1)
				}
			}
		}
	}()
	for range 2 { // the second process has its sockets from the first, by way of the holder
		a.kill9()
		before := map[party]uint64{}
		for _, c := range calls {
			before[c.by], before[c.to] = c.by.Stats().Received, c.to.Stats().Received
		}
		a.start()
		for end, n := range before {
			a.eventually(10*time.Second, end.extension+" hears again", func() error {
				if got := end.Stats().Received; got < n+10 {
					return fmt.Errorf("%d packets since the kill", got-n)
				}
				return nil
			})
			if gap := end.Stats().MaxGap; gap > time.Second {
				t.Errorf("%s heard nothing for %v", end.extension, gap)
			}
		}
		for _, c := range calls {
			talk(t, "after the restart", c.by, c.to)
		}
	}
	close(stop)
	<-done
	if n := refused.Load(); n > 0 || sent.Load() < 1000 {
		t.Errorf("%d of %d packets were answered with ICMP port unreachable", n, sent.Load())
	}
	for _, c := range calls {
		hangUp(t, c.by, c.to)
	}
}
