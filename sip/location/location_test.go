package location_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"linehall/internal/database"
	"linehall/sip/location"
	"linehall/sip/stack"
)

const aor = "8001@linehall.test"

func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := database.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := database.Migrate(t.Context(), db, location.Schema()); err != nil {
		t.Fatal(err)
	}
	return db
}

func service(t *testing.T, opts location.Options) *location.Service {
	t.Helper()
	s, err := location.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bind(t *testing.T, s *location.Service, b ...location.Binding) {
	t.Helper()
	if _, err := s.Update(b[0].AOR, func(now []location.Binding) ([]location.Binding, error) {
		return append(slices.Clone(now), b...), nil
	}); err != nil {
		t.Fatal(err)
	}
}

func binding(contact string, expires time.Duration) location.Binding {
	now := time.Now().Truncate(time.Millisecond)
	return location.Binding{
		AOR: aor, Contact: contact, ContactParams: `;+sip.instance="<urn:x>"`, Path: []string{"<sip:a;lr>", "<sip:b;lr>"},
		Flow: stack.Flow{
			Transport: stack.UDP, Local: netip.MustParseAddrPort("127.0.0.1:5060"), Remote: netip.MustParseAddrPort("127.0.1.7:5062"),
		},
		Expires: now.Add(expires), Since: now, Updated: now, Instance: "<urn:x>", RegID: "1", CallID: "c", CSeq: 7, Q: 1000, UserAgent: "P/1", Site: "branch1",
	}
}

// A second process finds every binding of the first, whether that ended well
// or was killed after the group had been written.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "linehall.db")
	db := open(t, path)
	first := service(t, location.Options{DB: db})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- first.Run(ctx) }()
	b := binding("sip:8001@127.0.1.7:5062;ob", time.Hour)
	began := time.Now()
	bind(t, first, b)
	second := open(t, path) // as after kill -9: the first goes on, unasked
	defer second.Close()    //nolint:errcheck // the test ends
	for {
		s := service(t, location.Options{DB: second})
		if s.Len() == 1 {
			break
		}
		if time.Since(began) > 5*time.Second {
			t.Fatal("never written")
		}
	}
	t.Logf("written after %s", time.Since(began))
	// What came just before an orderly end is written too.
	late := binding("sip:8001@127.0.1.8", time.Hour)
	gone := binding("sip:8001@127.0.1.9", time.Millisecond)
	bind(t, first, late, gone)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond) // beyond gone's expiry, which a restart must notice
	again := service(t, location.Options{DB: second})
	want := []location.Binding{b, late}
	if diff := cmp.Diff(want, again.Lookup(aor), cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateApproxTime(0),
		cmpopts.SortSlices(func(a, b location.Binding) bool { return a.Contact < b.Contact })); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
}

// The database is away: calls go on, and what was missed is written later.
func TestDatabaseComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "linehall.db")
	db := open(t, path)
	defer db.Close() //nolint:errcheck // the test ends
	s := service(t, location.Options{DB: db, WriteLag: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if _, err := db.ExecContext(t.Context(), "ALTER TABLE location_bindings RENAME TO elsewhere"); err != nil {
		t.Fatal(err)
	}
	bind(t, s, binding("sip:8001@127.0.1.7", time.Hour))
	time.Sleep(20 * time.Millisecond) // let a write fail; the test holds without it too
	if len(s.Lookup(aor)) != 1 {
		t.Error("not bound in memory")
	}
	if _, err := db.ExecContext(t.Context(), "ALTER TABLE elsewhere RENAME TO location_bindings"); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if service(t, location.Options{DB: db}).Len() != 1 {
		t.Error("never written")
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, location.Options{})
		var mu sync.Mutex
		var told []string
		s.OnChange(func(aor string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(aor, " ", len(s.Lookup(aor))))
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		bind(t, s, binding("sip:a@127.0.0.1", time.Minute), binding("sip:b@127.0.0.1", 2*time.Minute))
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{59 * time.Second, 2}, {2 * time.Second, 1}, {58 * time.Second, 1}, {2 * time.Second, 0}} {
			time.Sleep(step.after)
			synctest.Wait()
			if n := len(s.Lookup(aor)); n != step.want {
				t.Errorf("%d bindings, want %d", n, step.want)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if want := []string{aor + " 2", aor + " 1", aor + " 0"}; !slices.Equal(told, want) {
			t.Errorf("told %v", told)
		}
		if s.Len() != 0 || len(s.Snapshot()) != 0 {
			t.Errorf("%d left", s.Len())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFlowLossLeavesAGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, location.Options{Grace: 30 * time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		b := binding("sip:a@127.0.0.1;transport=tls", time.Hour)
		b.Flow.Transport = stack.TLS
		other := binding("sip:b@127.0.0.1", time.Hour)
		bind(t, s, b, other)
		s.FlowClosed(b.Flow)
		time.Sleep(29 * time.Second)
		if n := len(s.Lookup(aor)); n != 2 {
			t.Errorf("%d within the grace", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := s.Lookup(aor); len(got) != 1 || got[0].Contact != other.Contact {
			t.Errorf("after the grace: %v", got)
		}
		cancel()
		<-done
	})
}

func TestPreferenceAndBounds(t *testing.T) {
	s := service(t, location.Options{PerAOR: 3, Total: 4})
	old, young, liked := binding("sip:old@h", time.Hour), binding("sip:young@h", time.Hour), binding("sip:liked@h", time.Hour)
	old.Since, old.Q, young.Q = old.Since.Add(-time.Hour), 500, 500
	bind(t, s, old, liked, young)
	var order []string
	for _, b := range s.Lookup(aor) {
		order = append(order, b.Contact)
	}
	if want := []string{"sip:liked@h", "sip:young@h", "sip:old@h"}; !slices.Equal(order, want) {
		t.Errorf("order %v", order)
	}
	add := func(aor string) error {
		_, err := s.Update(aor, func(now []location.Binding) ([]location.Binding, error) {
			b := binding(fmt.Sprintf("sip:%d@h", len(now)), time.Hour)
			b.AOR = aor
			return append(slices.Clone(now), b), nil
		})
		return err
	}
	if err := add(aor); !errors.Is(err, location.ErrTooMany) {
		t.Errorf("fourth contact: %v", err)
	}
	if err := add("8002@h"); err != nil {
		t.Errorf("fourth binding: %v", err)
	}
	if err := add("8003@h"); !errors.Is(err, location.ErrFull) {
		t.Errorf("fifth binding: %v", err)
	}
	refused := errors.New("no")
	if _, err := s.Update(aor, func([]location.Binding) ([]location.Binding, error) { return nil, refused }); !errors.Is(err, refused) || len(s.Lookup(aor)) != 3 {
		t.Error("a refused change changed something")
	}
}

func TestRequestURI(t *testing.T) {
	for contact, want := range map[string]string{
		"sip:8001@127.0.1.7:5062;transport=udp;X-Line=a":   "sip:8001@127.0.1.7:5062;transport=udp;X-Line=a",
		"sip:8001@127.0.1.7?Route=%3Csip:evil%3E":          "sip:8001@127.0.1.7",
		"sip:8001@127.0.1.7;method=INVITE;ob":              "sip:8001@127.0.1.7;ob",
		"sip:%E5%B1%80@[2001:db8::1]:5060;transport=tcp;a": "sip:%E5%B1%80@[2001:db8::1]:5060;transport=tcp;a",
	} {
		uri, err := location.Binding{Contact: contact}.RequestURI()
		if err != nil || uri.String() != want {
			t.Errorf("%s became %s: %v", contact, uri.String(), err)
		}
	}
}

// TestAgainstAMap plays random updates, losses and time against a plain map.
func TestAgainstAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(*testing.T) {
			s, err := location.Open(context.Background(), location.Options{Grace: 10 * time.Second, PerAOR: 100})
			if err != nil {
				rt.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			model := map[string]map[string]location.Binding{}
			for range rapid.IntRange(1, 40).Draw(rt, "steps") {
				step(rt, s, model)
				synctest.Wait()
				compare(rt, s, model)
			}
			cancel()
			<-done
		})
	})
}

func step(rt *rapid.T, s *location.Service, model map[string]map[string]location.Binding) {
	who := rapid.SampledFrom([]string{"a@h", "b@h", "c@h"}).Draw(rt, "aor")
	if model[who] == nil {
		model[who] = map[string]location.Binding{}
	}
	contact := rapid.SampledFrom([]string{"sip:1@h", "sip:2@h", "sip:3@h"}).Draw(rt, "contact")
	flow := stack.Flow{Transport: stack.TCP, Remote: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(rapid.IntRange(1, 3).Draw(rt, "port")))}
	switch rapid.SampledFrom([]string{"bind", "unbind", "lose", "wait"}).Draw(rt, "what") {
	case "bind":
		b := location.Binding{AOR: who, Contact: contact, Flow: flow, Q: 1000, Expires: time.Now().Add(time.Duration(rapid.IntRange(1, 60).Draw(rt, "expires")) * time.Second)}
		replace(s, who, contact, &b)
		model[who][contact] = b
	case "unbind":
		replace(s, who, contact, nil)
		delete(model[who], contact)
	case "lose":
		s.FlowClosed(flow)
		for _, m := range model {
			for k, b := range m {
				if limit := time.Now().Add(10 * time.Second); b.Flow == flow && b.Expires.After(limit) {
					b.Expires = limit
					m[k] = b
				}
			}
		}
	case "wait":
		time.Sleep(time.Duration(rapid.IntRange(1, 20).Draw(rt, "wait")) * time.Second)
	}
}

func replace(s *location.Service, aor, contact string, b *location.Binding) {
	_, _ = s.Update(aor, func(now []location.Binding) ([]location.Binding, error) {
		kept := slices.DeleteFunc(slices.Clone(now), func(x location.Binding) bool { return x.Contact == contact })
		if b != nil {
			kept = append(kept, *b)
		}
		return kept, nil
	})
}

func compare(rt *rapid.T, s *location.Service, model map[string]map[string]location.Binding) {
	total := 0
	for aor, m := range model {
		for k, b := range m {
			if !b.Expires.After(time.Now()) {
				delete(m, k)
			}
		}
		total += len(m)
		got := s.Lookup(aor)
		for _, b := range got {
			if want, ok := m[b.Contact]; !ok || !want.Expires.Equal(b.Expires) {
				rt.Fatalf("%s has %s until %s, want %v", aor, b.Contact, b.Expires, want)
			}
		}
		if len(got) != len(m) {
			rt.Fatalf("%s has %d bindings, want %d", aor, len(got), len(m))
		}
	}
	if s.Len() != total || len(s.Snapshot()) != total {
		rt.Fatalf("%d bindings counted, %d there, want %d", s.Len(), len(s.Snapshot()), total)
	}
}
