package location_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"linehall/internal/database"
	"linehall/sip/location"
	"linehall/sip/stack"
)

const many = 10000

// nth is the n-th phone of a big organisation.
func nth(n int, now time.Time) location.Binding {
	aor := fmt.Sprintf("%05d@linehall.test", n)
	remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 5060) //nolint:gosec // bytes of an address
	return location.Binding{
		AOR: aor, Contact: fmt.Sprintf("sip:%05d@%s;ob", n, remote), ContactParams: `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"`,
		Flow:    stack.Flow{Transport: stack.UDP, Local: netip.MustParseAddrPort("10.0.0.1:5060"), Remote: remote},
		Expires: now.Add(time.Hour), Since: now, Updated: now, Instance: "<urn:uuid:00000000-0000-1000-8000-000A95A0E128>",
		CallID: aor, CSeq: 1, Q: 1000, UserAgent: "Yealink SIP-T46U 108.86.0.20", Site: "hq",
	}
}

func fill(tb testing.TB, s *location.Service, now time.Time) {
	tb.Helper()
	const workers = 8
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for n := w; n < many; n += workers {
				b := nth(n, now)
				if _, err := s.Update(b.AOR, func([]location.Binding) ([]location.Binding, error) { return []location.Binding{b}, nil }); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// Ten thousand bindings are taken, written behind, read back by the next process, and found.
func TestTenThousandBindings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "linehall.db")
	open := func() (*sql.DB, *location.Service) {
		t.Helper()
		db, err := database.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := database.Migrate(t.Context(), db, location.Schema()); err != nil {
			t.Fatal(err)
		}
		s, err := location.Open(t.Context(), location.Options{DB: db})
		if err != nil {
			t.Fatal(err)
		}
		return db, s
	}
	db, s := open()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	now, begin := time.Now(), time.Now()
	fill(t, s, now)
	took := time.Since(begin)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	written := time.Since(begin)
	if s.Len() != many {
		t.Fatalf("%d bindings", s.Len())
	}
	_ = db.Close()
	begin = time.Now()
	db, again := open()
	defer db.Close() //nolint:errcheck // the test has ended
	loaded := time.Since(begin)
	if again.Len() != many {
		t.Fatalf("%d bindings after a restart", again.Len())
	}
	for n := range many {
		want := nth(n, now)
		if got := again.Lookup(want.AOR); len(got) != 1 || got[0].Contact != want.Contact || got[0].Flow != want.Flow {
			t.Fatalf("%s: %+v", want.AOR, got)
		}
	}
	t.Logf("taken in %v, written after %v, read in %v", took.Round(time.Millisecond), written.Round(time.Millisecond), loaded.Round(time.Millisecond))
}

// A refresh while ten thousand are bound, and finding one.
func BenchmarkBindings(b *testing.B) {
	s, err := location.Open(b.Context(), location.Options{})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	fill(b, s, now)
	all := make([]location.Binding, many)
	for n := range all {
		all[n] = nth(n, now)
	}
	b.Run("refresh", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			k := all[n%many]
			if _, err := s.Update(k.AOR, func([]location.Binding) ([]location.Binding, error) { return []location.Binding{k}, nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if len(s.Lookup(all[n%many].AOR)) != 1 {
				b.Fatal("not found")
			}
		}
	})
}
