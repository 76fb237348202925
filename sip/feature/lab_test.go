package feature

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/audit"
	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/dialplan"
	"linehall/sip/location"
)

// people is the directory of the tests: 8001 to 8006 and 2001 in use, 8009 not; 8006 may call
// inside only.
type people map[string]directory.Terminal

func (p people) ByExtension(extension string) (directory.Terminal, bool) {
	t, ok := p[extension]
	return t, ok
}

func (p people) All() []directory.Terminal {
	var all []directory.Terminal
	for _, t := range p {
		all = append(all, t)
	}
	return all
}

func staff() people {
	p := people{}
	for _, e := range []string{"8001", "8002", "8003", "8004", "8005", "8006", "2001"} {
		p[e] = directory.Terminal{Extension: e, DisplayName: "name of " + e, Site: "hq", State: directory.Active}
	}
	inside := p["8006"]
	inside.Class = "inside"
	p["8006"] = inside
	p["8009"] = directory.Terminal{Extension: "8009", Site: "hq", State: directory.Disabled}
	return p
}

func numberPlan(t *testing.T, p people) *dialplan.Plan {
	t.Helper()
	table, err := site.NewTable([]site.Site{{ID: "hq", Name: "hq", Main: true, Prefix: "8"}})
	if err != nil {
		t.Fatal(err)
	}
	features := map[string]string{}
	for _, f := range dialplan.Features() {
		features[f.Name] = f.Code
	}
	group := func(number string, strategy dialplan.Strategy, overflow string, members ...string) dialplan.GroupConfig {
		return dialplan.GroupConfig{Number: number, Name: "group " + number, Strategy: strategy, Members: members, Ring: 15 * time.Second, Overflow: overflow}
	}
	plan, err := dialplan.New(dialplan.Config{
		Emergency: []string{"110"}, Duty: "8000", DutyMembers: []string{"8004", "8005"}, Features: features,
		Classes: map[string]dialplan.ClassConfig{"inside": {Reach: dialplan.Internal}},
		Groups: []dialplan.GroupConfig{
			group("8100", dialplan.RingAll, "8000", "8001", "8002", "8003"),
			group("8101", dialplan.Linear, "", "8001", "8002", "8003"),
			group("8102", dialplan.LongestIdle, "8100", "8001", "8002", "8003"),
			group("8103", dialplan.Memory, "", "8001", "8002", "8003"),
		},
		Rules: []dialplan.RuleConfig{{Name: "outside", Match: "0.", Strip: 1, Trunks: []string{"t"}}},
	}, table, p, dialplan.WithTrunks([]dialplan.Trunk{{Name: "t"}}))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// phones is who is registered.
type phones struct {
	mu     sync.Mutex
	absent map[string]bool
}

func (p *phones) Lookup(aor string) []location.Binding {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.absent[aor] {
		return nil
	}
	return []location.Binding{{AOR: aor, Contact: "sip:" + aor}}
}

func (p *phones) Resolve(*sip.Uri) (location.Target, bool, error) {
	return location.Target{}, false, nil
}

func (p *phones) set(extension string, there bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.absent == nil {
		p.absent = map[string]bool{}
	}
	p.absent[extension+"@linehall.test"] = !there
}

// plain is a hasher that hides nothing; internal/auth has its own tests.
type plain struct{}

func (plain) Hash(_ context.Context, text string) (string, error) { return "hash of " + text, nil }

func (plain) Fits(_ context.Context, hash, text string) (bool, error) {
	return hash == "hash of "+text, nil
}

// journal keeps what was recorded.
type journal struct {
	mu     sync.Mutex
	events []audit.Event
	fail   error
}

func (j *journal) Append(_ context.Context, e audit.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail == nil {
		j.events = append(j.events, e)
	}
	return j.fail
}

// office is a Service with its surroundings.
type office struct {
	*Service

	people  people
	phones  *phones
	journal *journal
	db      *sql.DB
}

func newOffice(t *testing.T, db *sql.DB) *office {
	t.Helper()
	o := &office{people: staff(), phones: &phones{}, journal: &journal{}, db: db}
	var err error
	o.Service, err = Open(t.Context(), Options{
		DB: db, Directory: o.people, Plan: numberPlan(t, o.people), Locations: o.phones, Hasher: plain{}, Audit: o.journal, Domain: "linehall.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	o.CallBackWith(&caller{})
	return o
}

func openDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, Schema()); err != nil {
		t.Fatal(err)
	}
	return db
}

func (o *office) set(t *testing.T, extension string, edit func(*Settings)) {
	t.Helper()
	if _, err := o.Change(t.Context(), extension, edit); err != nil {
		t.Fatal(err)
	}
}

// force puts settings in force that Change would refuse today: they were allowed when they were set.
func (o *office) force(extension string, s Settings) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.book[extension] = s
}
