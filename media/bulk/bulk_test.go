package bulk

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linehall/internal/site"
	"linehall/media/line"
)

func lines(t *testing.T) (*line.Ledger, *site.Atlas) {
	t.Helper()
	table, err := site.NewTable([]site.Site{
		{ID: "hq", Main: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}},
		{ID: "branch1", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}, Line: &site.Line{Up: 2e6, Down: 2e6, OfficeReserve: 0.15}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return line.NewLedger(table, nil, nil), site.NewAtlas(table)
}

var branch = netip.MustParseAddr("10.0.1.7")

// sink takes what is written and counts it per second.
type sink struct {
	net.Conn
	mu      sync.Mutex
	start   time.Time
	seconds map[int]int
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seconds[int(time.Since(s.start)/time.Second)] += len(b) + packets(len(b))*(headers+18)
	return len(b), nil
}
func (*sink) Close() error                     { return nil }
func (*sink) SetWriteDeadline(time.Time) error { return nil }
func (*sink) Read(b []byte) (int, error)       { return len(b), nil }

// download lets ten phones fetch firmware for some seconds and returns the most that left in one of them, in bit/s.
func download(b *Bucket, seconds int) (most int) {
	out := &sink{start: time.Now(), seconds: map[int]int{}}
	stop := make(chan struct{})
	var all sync.WaitGroup
	conns := make([]*Conn, 10)
	for i := range conns {
		conns[i] = newConn(out, b)
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := conns[i].Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		})
	}
	time.Sleep(time.Duration(seconds) * time.Second)
	close(stop)
	for _, c := range conns {
		_ = c.Close()
	}
	all.Wait()
	for s := 1; s < seconds; s++ {
		most = max(most, out.seconds[s]*8)
	}
	return most
}

func TestTenDownloadsTakeWhatIsLeft(t *testing.T) {
	for name, tc := range map[string]struct {
		reserved, video int64
		least, most     int
	}{
		"an idle line":         {0, 0, 1_500_000, 1_750_000},
		"a line full of calls": {1_570_000, 0, 60_000, 150_000},
		"beside a meeting":     {200_000, 1_500_000, 70_000, 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ledger, atlas := lines(t)
				lease, err := ledger.Reserve(line.Voice, line.Demand{Site: "branch1", Rate: line.Rate{Up: tc.reserved, Down: tc.reserved}})
				if err != nil {
					t.Fatal(err)
				}
				defer lease.Release()
				video := ledger.Elastic(line.Video, "branch1", nil)
				video.Use(line.Rate{Down: tc.video})
				before := video.Budget().Down
				b := New(ledger, atlas).Bucket(branch)
				got := download(b, 10)
				if got < tc.least || got > tc.most {
					t.Errorf("%d bit/s in a second, want %d to %d", got, tc.least, tc.most)
				}
				if during := video.Budget().Down; before > 100_000 && during > before-64_000 {
					t.Errorf("the meeting has %d of %d bit/s while pages wait", during, before)
				}
				time.Sleep(2 * linger)
				if after := video.Budget().Down; after != before {
					t.Errorf("the meeting has %d afterwards, %d before", after, before)
				}
			})
		})
	}
}

// TestWithoutTheBucketTheyTakeAll is the control.
func TestWithoutTheBucketTheyTakeAll(t *testing.T) {
	_, atlas := lines(t)
	ledger, _ := lines(t)
	if b := New(ledger, atlas).Bucket(netip.MustParseAddr("10.0.0.7")); b != nil {
		t.Fatal("headquarters has no line")
	}
	if got := download(nil, 2); got < 100_000_000 {
		t.Errorf("%d bit/s without a bucket: this test proves nothing", got)
	}
}

func TestUploadsAreReadSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger, atlas := lines(t)
		c := newConn(&sink{}, New(ledger, atlas).Bucket(branch))
		defer c.Close() //nolint:errcheck // a test's
		start, octets := time.Now(), 0
		for time.Since(start) < 5*time.Second {
			n, err := c.Read(make([]byte, 64<<10))
			if err != nil {
				t.Fatal(err)
			}
			octets += n
		}
		if rate := octets * 8 / 5; rate < 1_300_000 || rate > 1_700_000 {
			t.Errorf("%d bit/s were read over a line that has 1.7 Mbit/s", rate)
		}
	})
}

func TestSignallingDoesNotWaitBehindDownloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger, atlas := lines(t)
		b := New(ledger, atlas).Bucket(branch)
		out := &sink{start: time.Now(), seconds: map[int]int{}}
		socket := newConn(out, b)
		Watch(socket, http.StateHijacked)
		done := make(chan struct{})
		go func() { download(b, 3); close(done) }()
		time.Sleep(time.Second)
		at := time.Now()
		if _, err := socket.Write(make([]byte, 1000)); err != nil || time.Since(at) > 0 {
			t.Errorf("a message left after %v, %v", time.Since(at), err)
		}
		<-done
		time.Sleep(2 * linger)
	})
}

func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger, atlas := lines(t)
		b := New(ledger, atlas).Bucket(branch)
		b.Pass(line.Down, 1<<20)
		c := newConn(&sink{seconds: map[int]int{}}, b)
		if err := c.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, 5000)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		_ = c.SetWriteDeadline(time.Time{})
		go func() { time.Sleep(time.Millisecond); _ = c.Close() }()
		if _, err := c.Write(make([]byte, 5000)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Wait(ctx, line.Down, 1<<20); !errors.Is(err, context.Canceled) {
			t.Errorf("without a context: %v", err)
		}
		time.Sleep(2 * linger)
	})
}
