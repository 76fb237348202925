package registrar_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/database"
	"linehall/sip/location"
	"linehall/sip/registrar"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

const (
	instanceA = `+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"`
	instanceB = `+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`
)

// withGRUUs makes the location service give them out.
func withGRUUs(_ *stack.Options, _ *registrar.Options, lo *location.Options) {
	lo.Domain, lo.GRUUKey = domain, []byte("0123456789abcdef0123456789abcdef")
}

// RFC 5626 §6: two flows of one instance stay two bindings, also under one contact URI; a flow that is registered again
// takes the place of itself, whatever its contact; without an instance reg-id is nothing.
func TestFlowsOfAnInstance(t *testing.T) {
	a := run(t, nil)
	tcp := newPhone(t, stacktest.DialTCP(t, a.addr(stack.TCP)), "8001")
	udp := newPhone(t, stacktest.DialUDP(t, a.addr(stack.UDP)), "8001")
	lookup := func() []location.Binding { return a.loc.Lookup("8001@" + domain) }
	m := tcp.register("Contact: <sip:8001@10.9.9.9;ob>;reg-id=1;"+instanceA, "Supported: path, outbound")
	if m.Code != 200 || m.Header("Require") != "outbound" || m.Header("Flow-Timer") != "120" || !strings.Contains(m.Header("Supported"), "outbound") {
		t.Fatalf("got:\n%s", m.Raw)
	}
	m = udp.register("Contact: <sip:8001@10.9.9.9;ob>;reg-id=2;"+instanceA, "Supported: path, outbound")
	if m.Code != 200 || m.Header("Require") != "outbound" || m.Header("Flow-Timer") != "" || len(m.Headers("Contact")) != 2 {
		t.Fatalf("got:\n%s", m.Raw)
	}
	if b := lookup(); len(b) != 2 || b[0].Flow == b[1].Flow {
		t.Fatalf("bound as %+v", b)
	}
	again := newPhone(t, stacktest.DialTCP(t, a.addr(stack.TCP)), "8001")
	if m = again.register("Contact: <sip:8001@10.8.8.8;ob>;reg-id=1;"+instanceA, "Supported: outbound"); m.Code != 200 {
		t.Fatalf("got:\n%s", m.Raw)
	}
	if b := lookup(); len(b) != 2 || b[0].RegID == b[1].RegID {
		t.Errorf("bound as %+v", b)
	}
	for name, c := range map[string]struct {
		head []string
		code int
		uses bool
	}{
		"without outbound":    {[]string{"Contact: <sip:8002@10.9.9.9>;reg-id=1;" + instanceA}, 200, false},
		"without an instance": {[]string{"Contact: <sip:8002@10.9.9.9>;reg-id=1", "Supported: outbound"}, 200, false},
		"reg-id 0":            {[]string{"Contact: <sip:8002@10.9.9.9>;reg-id=0;" + instanceA, "Supported: outbound"}, 200, false},
		"two flows at once": {[]string{
			"Contact: <sip:8002@10.9.9.9>;reg-id=1;" + instanceA + ", <sip:8002@10.9.9.8>;reg-id=2;" + instanceA, "Supported: outbound",
		}, 400, false},
		"through a proxy that keeps no flows": {[]string{
			"Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKfar", "Contact: <sip:8002@10.9.9.9>;reg-id=1;" + instanceA, "Supported: outbound, path", "Path: <sip:edge@127.0.0.1;lr>",
		}, 439, false},
		"through a proxy that keeps them": {[]string{
			"Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKfar", "Contact: <sip:8002@10.9.9.9>;reg-id=1;" + instanceA, "Supported: outbound, path", "Path: <sip:inner@10.0.0.1;lr>, <sip:token@127.0.0.1;lr;ob>",
		}, 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPhone(t, stacktest.DialUDP(t, a.addr(stack.UDP)), "8002")
			m := p.register(c.head...)
			if m.Code != c.code || (m.Header("Require") == "outbound") != c.uses {
				t.Errorf("got:\n%s", m.Raw)
			}
			p.register("Contact: *", "Expires: 0")
		})
	}
}

// RFC 5627: who asks for them gets a public and a temporary GRUU for each instance. Both lead to it and nowhere else, the
// public one for ever, the temporary one as long as the registration goes on, also after a restart.
func TestGRUU(t *testing.T) {
	path := filepath.Join(t.TempDir(), "linehall.db")
	reopen := func() *location.Service {
		t.Helper()
		db, err := database.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if err := database.Migrate(t.Context(), db, location.Schema()); err != nil {
			t.Fatal(err)
		}
		lo := location.Options{DB: db}
		withGRUUs(nil, nil, &lo)
		loc, err := location.Open(t.Context(), lo)
		if err != nil {
			t.Fatal(err)
		}
		return loc
	}
	var temporary, public string
	t.Run("given out", func(t *testing.T) {
		db, err := database.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if err := database.Migrate(t.Context(), db, location.Schema()); err != nil {
			t.Fatal(err)
		}
		a := run(t, func(so *stack.Options, ro *registrar.Options, lo *location.Options) {
			withGRUUs(so, ro, lo)
			lo.DB = db
		})
		first := newPhone(t, stacktest.DialUDP(t, a.addr(stack.UDP)), "8001")
		second := newPhone(t, stacktest.DialUDP(t, a.addr(stack.UDP)), "8001")
		plain := newPhone(t, stacktest.DialUDP(t, a.addr(stack.UDP)), "8002")
		if m := plain.register("Contact: " + plain.contact() + ";" + instanceA); strings.Contains(m.Raw, "gruu") {
			t.Errorf("nobody asked:\n%s", m.Raw)
		}
		mine := second.register("Contact: "+second.contact()+";"+instanceB, "Supported: gruu")
		m := first.register("Contact: "+first.contact()+`;pub-gruu="sip:evil@example.com;gr=x";`+instanceA, "Supported: gruu")
		own := m.Headers("Contact")[0]
		public, temporary = quoted(own, "pub-gruu"), quoted(own, "temp-gruu")
		if m.Code != 200 || public != "sip:8001@linehall.test;gr=urn:uuid:00000000-0000-1000-8000-000A95A0E128" || strings.Contains(own, "evil") ||
			!strings.HasPrefix(temporary, "sip:tgruu.") || !strings.HasSuffix(temporary, "@linehall.test;gr") {
			t.Fatalf("got:\n%s", m.Raw)
		}
		if strings.Contains(temporary, "8001") || temporary == quoted(mine.Header("Contact"), "temp-gruu") {
			t.Errorf("temporary GRUU %s", temporary)
		}
		leadsTo(t, a.loc, public, "8001", first.contact())
		leadsTo(t, a.loc, temporary, "8001", first.contact())
		leadsTo(t, a.loc, strings.ToLower(public), "8001", first.contact())
		leadsTo(t, a.loc, "sip:8001@linehall.test;gr=urn:uuid:00000000-0000-1000-8000-000000000000", "8001")
		refreshed := quoted(first.register("Contact: "+first.contact()+";"+instanceA, "Supported: gruu").Header("Contact"), "temp-gruu")
		if refreshed == temporary {
			t.Error("a refresh gives the same temporary GRUU")
		}
		leadsTo(t, a.loc, temporary, "8001", first.contact())
		leadsTo(t, a.loc, refreshed, "8001", first.contact())
		for _, forged := range []string{"sip:tgruu.AAAA@linehall.test;gr", "sip:8001@linehall.test;gr", strings.Replace(temporary, "tgruu.", "tgruu.A", 1)} {
			if _, ours, err := a.loc.Resolve(uri(t, forged)); !ours || err == nil {
				t.Errorf("%s leads somewhere", forged)
			}
		}
		for _, other := range []string{"sip:8001@linehall.test", "sip:8001@example.com;gr=urn:uuid:00000000-0000-1000-8000-000A95A0E128"} {
			if _, ours, _ := a.loc.Resolve(uri(t, other)); ours {
				t.Errorf("%s is taken for a GRUU of ours", other)
			}
		}
		if m := first.register("Contact: "+first.contact(), "Supported: gruu"); m.Code != 200 {
			t.Errorf("got:\n%s", m.Raw)
		}
		if m := first.register("Contact: "+first.contact()+";"+instanceA, "Supported: gruu"); m.Code != 200 {
			t.Errorf("got:\n%s", m.Raw)
		}
	})
	loc := reopen()
	if t2, ours, err := loc.Resolve(uri(t, temporary)); !ours || err != nil || t2.User != "8001" || len(t2.Bindings) != 1 {
		t.Errorf("after a restart: %+v, %v", t2, err)
	}
	_, err := loc.Update("8001@"+domain, func(now []location.Binding) ([]location.Binding, error) {
		out := append([]location.Binding(nil), now...)
		for i := range out {
			out[i].CallID = "another"
		}
		return out, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := loc.Resolve(uri(t, temporary)); err == nil {
		t.Error("a temporary GRUU outlives the registration under its Call-ID")
	}
	if t2, ours, err := loc.Resolve(uri(t, public)); !ours || err != nil || len(t2.Bindings) != 1 {
		t.Errorf("the public GRUU after a new registration: %+v, %v", t2, err)
	}
}

func leadsTo(t *testing.T, loc *location.Service, gruu, user string, contacts ...string) {
	t.Helper()
	target, ours, err := loc.Resolve(uri(t, gruu))
	if err != nil || !ours || target.User != user {
		t.Errorf("%s: %+v, %v", gruu, target, err)
	}
	var got []string
	for _, b := range target.Bindings {
		got = append(got, "<"+b.Contact+">")
	}
	if strings.Join(got, " ") != strings.Join(contacts, " ") {
		t.Errorf("%s leads to %v, want %v", gruu, got, contacts)
	}
}

func uri(t *testing.T, text string) *sip.Uri {
	t.Helper()
	var u sip.Uri
	if err := sip.ParseUri(text, &u); err != nil {
		t.Fatal(err)
	}
	return &u
}

// quoted is a quoted parameter's value.
func quoted(header, name string) string {
	_, rest, _ := strings.Cut(header, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
