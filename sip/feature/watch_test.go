package feature

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linehall/internal/directory"
	"linehall/sip/call"
	"linehall/sip/route"
)

func cmpEmpty() cmp.Option { return cmpopts.EquateEmpty() }

// begin is a call as the core shows it; it returns what changes it.
func (o *office) call(id, from, dialled string, ringing ...string) (answer func(by string), end func()) {
	info := call.Info{ID: id, State: call.StateRinging, Dialled: dialled, From: call.Party{Extension: from}, To: call.Party{Extension: dialled}}
	dialogs := func(extensions ...string) []call.DialogInfo {
		list := []call.DialogInfo{{Extension: from}}
		for _, e := range extensions {
			list = append(list, call.DialogInfo{Extension: e})
		}
		return list
	}
	info.Dialogs = dialogs(ringing...)
	o.CallChanged(info)
	answer = func(by string) {
		info.State, info.AnsweredAt, info.Dialogs = call.StateEstablished, time.Now(), dialogs(by)
		info.To.Extension = by
		o.CallChanged(info)
	}
	return answer, func() {
		info.State, info.Dialogs = call.StateEnded, nil
		o.CallChanged(info)
	}
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	counts := func() string {
		return fmt.Sprint(o.callsOf("8001"), o.callsOf("8002"), o.callsOf("8003"))
	}
	answer, end := o.call("a", "8001", "8100", "8002", "8003")
	answerB, endB := o.call("b", "8004", "8002", "8002")
	if got := counts(); got != "1 2 1" {
		t.Errorf("ringing: %s", got)
	}
	answer("8003")
	if got := counts(); got != "1 1 1" {
		t.Errorf("answered: %s", got)
	}
	end()
	end()
	answerB("8002")
	if got := counts(); got != "0 1 0" {
		t.Errorf("ended: %s", got)
	}
	endB()
	if len(o.watch.count) != 0 || len(o.watch.calls) != 0 {
		t.Errorf("left over: %+v %+v", o.watch.count, o.watch.calls)
	}
}

// The order of a group follows its strategy: who had no call for the longest time, or whoever is
// behind the one that had the last call.
func TestOrderOfGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, nil)
		order := func(number string) []string {
			g, _ := o.o.Plan.Group(number)
			return o.order(g)
		}
		talk := func(number, by string) {
			answer, end := o.call(number+by, "8005", number, by)
			answer(by)
			time.Sleep(time.Minute)
			end()
		}
		for _, number := range []string{"8101", "8102", "8103"} {
			if got := order(number); !slices.Equal(got, []string{"8001", "8002", "8003"}) {
				t.Errorf("%s at first: %v", number, got)
			}
		}
		talk("8103", "8001")
		talk("8102", "8003")
		for number, want := range map[string][]string{
			"8101": {"8001", "8002", "8003"}, "8102": {"8002", "8001", "8003"}, "8103": {"8002", "8003", "8001"},
		} {
			if got := order(number); !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", number, got, want)
			}
		}
		talk("8103", "8003")
		if got := order("8103"); !slices.Equal(got, []string{"8001", "8002", "8003"}) {
			t.Errorf("behind the last: %v", got)
		}
	})
}

func TestGroupsForPeople(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.set(t, "8001", func(s *Settings) { s.LoggedOut = []string{"8100"} })
	o.set(t, "8002", func(s *Settings) { s.DoNotDisturb = true })
	o.phones.set("8003", false)
	_, _ = o.call("a", "8003", "8005", "8005")
	groups := o.Groups()
	want := []MemberState{
		{Extension: "8001", Registered: true},
		{Extension: "8002", LoggedIn: true, Registered: true, DoNotDisturb: true},
		{Extension: "8003", LoggedIn: true, Calls: 1},
	}
	if diff := cmp.Diff(want, groups[0].States); diff != "" || len(groups) != 4 {
		t.Errorf("%d groups: %s", len(groups), diff)
	}
	if err := o.SetMember(t.Context(), "8100", "8001", true); err != nil {
		t.Fatal(err)
	}
	if got := o.Groups()[0].States[0]; !got.LoggedIn || !got.Free {
		t.Errorf("after the log-in: %+v", got)
	}
	for _, wrong := range [][2]string{{"8100", "8005"}, {"8999", "8001"}} {
		if err := o.SetMember(t.Context(), wrong[0], wrong[1], true); !errors.Is(err, ErrUnknown) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

// Who called last is remembered where it counts, and explaining a route leaves no trace.
func TestLastCaller(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	last := func(e string) string {
		number, _, ok := o.LastCaller(e)
		return fmt.Sprint(number, " ", ok)
	}
	o.Explain(o.request(t, "8005", "8001"))
	if got := last("8001"); got != " false" {
		t.Errorf("after an explanation: %s", got)
	}
	o.Route(t.Context(), o.request(t, "8005", "8001"))
	if got := last("8001"); got != "8005 true" {
		t.Errorf("from inside: %s", got)
	}
	o.Route(t.Context(), o.request(t, "+8613800000000", "8001"))
	if got := last("8001"); got != "+8613800000000 true" {
		t.Errorf("from outside: %s", got)
	}
	o.Route(t.Context(), o.request(t, "8005", "8001", func(r *route.Request) { r.Decision.Withheld = true }))
	if got := last("8001"); got != " true" {
		t.Errorf("withheld: %s", got)
	}
	o.Route(t.Context(), o.request(t, "8005", "8100"))
	if got := last("8100"); got != " false" {
		t.Errorf("a group: %s", got)
	}
}

// operator calls back.
type caller struct {
	mu   sync.Mutex
	made []string
	fail error
}

func (c *caller) Originate(_ context.Context, from directory.Terminal, number string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail == nil {
		c.made = append(c.made, from.Extension+">"+number)
	}
	return c.fail
}

func (c *caller) want(t *testing.T, when string, calls ...string) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.made, calls) {
		t.Errorf("%s: called back %v, want %v", when, c.made, calls)
	}
}

// completing runs an office in synthetic time.
func completing(t *testing.T, test func(t *testing.T, o *office, c *caller)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o, c := newOffice(t, nil), &caller{}
		o.CallBackWith(c)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- o.Run(ctx) }()
		test(t, o, c)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (o *office) wish(t *testing.T, caller, callee string) Completion {
	t.Helper()
	wish, err := o.Complete(t.Context(), o.people[caller], callee)
	if err != nil {
		t.Fatal(err)
	}
	return wish
}

func TestCompletionOnBusy(t *testing.T) {
	t.Parallel()
	completing(t, func(t *testing.T, o *office, c *caller) {
		t.Helper()
		answer, end := o.call("a", "8002", "8003", "8003")
		answer("8003")
		o.Route(t.Context(), o.request(t, "8001", "8002")) // and found it busy
		if wish := o.wish(t, "8001", ""); wish.Callee != "8002" || wish.Waits != WaitsBusy {
			t.Errorf("wish %+v", wish)
		}
		time.Sleep(time.Minute)
		c.want(t, "while it talks")
		_, endOwn := o.call("b", "8001", "8005", "8005")
		end()
		time.Sleep(time.Minute)
		c.want(t, "while the caller talks")
		endOwn()
		time.Sleep(freeGuard - 500*time.Millisecond)
		c.want(t, "at once")
		time.Sleep(2 * time.Second)
		c.want(t, "when both are free", "8001>8002")
		if list := o.Completions(); len(list) != 0 {
			t.Errorf("still wished: %+v", list)
		}
	})
}

func TestCompletionOnNoAnswer(t *testing.T) {
	t.Parallel()
	completing(t, func(t *testing.T, o *office, c *caller) {
		t.Helper()
		if wish := o.wish(t, "8001", "8002"); wish.Waits != WaitsNoAnswer {
			t.Errorf("wish %+v", wish)
		}
		_, end := o.call("a", "8005", "8002", "8002") // rings in vain
		end()
		time.Sleep(time.Minute)
		c.want(t, "nobody was there")
		_, end = o.call("b", "8002", "8005", "8005") // somebody dials there
		end()
		time.Sleep(time.Minute)
		c.want(t, "somebody is there", "8001>8002")
	})
}

func TestCompletionWhenAbsent(t *testing.T) {
	t.Parallel()
	completing(t, func(t *testing.T, o *office, c *caller) {
		t.Helper()
		o.phones.set("8002", false)
		if wish := o.wish(t, "8001", "8002"); wish.Waits != WaitsAbsent {
			t.Errorf("wish %+v", wish)
		}
		time.Sleep(time.Minute)
		c.want(t, "away")
		o.phones.set("8002", true)
		o.Registered("8002@linehall.test")
		time.Sleep(10 * time.Second)
		c.want(t, "registered", "8001>8002")
	})
}

func TestCompletionEnds(t *testing.T) {
	t.Parallel()
	completing(t, func(t *testing.T, o *office, c *caller) {
		t.Helper()
		answer, end := o.call("a", "8002", "8003", "8003")
		answer("8003")
		o.wish(t, "8001", "8002")
		time.Sleep(46 * time.Minute)
		synctest.Wait()
		if list := o.Completions(); len(list) != 0 {
			t.Errorf("not expired: %+v", list)
		}
		o.wish(t, "8001", "8002")
		o.wish(t, "8005", "8002")
		if n, err := o.Forget(t.Context(), "8001", ""); n != 1 || err != nil {
			t.Errorf("took back %d, %v", n, err)
		}
		end()
		time.Sleep(time.Minute)
		c.want(t, "the other's wish", "8005>8002")
	})
}

// Several wait for one: the first is first, and the next one's turn comes when that call is over.
func TestCompletionInTurn(t *testing.T) {
	t.Parallel()
	completing(t, func(t *testing.T, o *office, c *caller) {
		t.Helper()
		answer, end := o.call("a", "8002", "8003", "8003")
		answer("8003")
		o.wish(t, "8001", "8002")
		o.wish(t, "8005", "8002")
		end()
		time.Sleep(freeGuard + time.Second)
		c.want(t, "the first", "8001>8002")
		answer, end = o.call("b", "8001", "8002", "8002")
		answer("8002")
		time.Sleep(time.Minute)
		c.want(t, "meanwhile", "8001>8002")
		end()
		time.Sleep(time.Minute)
		c.want(t, "the second", "8001>8002", "8005>8002")
	})
}

// A call back that cannot be begun is tried again.
func TestCompletionTriesAgain(t *testing.T) {
	t.Parallel()
	completing(t, func(t *testing.T, o *office, c *caller) {
		t.Helper()
		c.fail = errors.New("no way")
		answer, end := o.call("a", "8002", "8003", "8003")
		answer("8003")
		o.wish(t, "8001", "8002")
		end()
		time.Sleep(10 * time.Second)
		c.mu.Lock()
		c.fail = nil
		c.mu.Unlock()
		c.want(t, "refused")
		time.Sleep(retryAfter)
		c.want(t, "later", "8001>8002")
	})
}

func TestCompletionIsBounded(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.mu.Lock()
	for i := range mostOfCaller {
		o.wishes.put(completion{Completion: Completion{Caller: "8001", Callee: fmt.Sprint(i)}})
	}
	for i := range mostOfCallee {
		o.wishes.put(completion{Completion: Completion{Caller: fmt.Sprint(i), Callee: "8002"}})
	}
	o.mu.Unlock()
	if _, err := o.Complete(t.Context(), o.people["8001"], "8003"); !errors.Is(err, ErrTooManyWishes) {
		t.Errorf("one more of a caller: %v", err)
	}
	if _, err := o.Complete(t.Context(), o.people["8003"], "8002"); !errors.Is(err, ErrTooManyWishes) {
		t.Errorf("one more of a callee: %v", err)
	}
	o.Route(t.Context(), o.request(t, "8003", "8004"))
	answer, _ := o.call("a", "8003", "8004", "8004")
	answer("8004")
	if _, err := o.Complete(t.Context(), o.people["8003"], ""); !errors.Is(err, ErrNothingToComplete) {
		t.Errorf("an answered call: %v", err)
	}
}
