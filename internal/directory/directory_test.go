package directory_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/internal/secret"
)

type fixture struct {
	dir  string
	db   *sql.DB
	book *directory.Directory
}

func open(t *testing.T, dir string) fixture {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(dir, "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, directory.Schema()); err != nil {
		t.Fatal(err)
	}
	box, err := secret.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	book, err := directory.Open(t.Context(), db, box)
	if err != nil {
		t.Fatal(err)
	}
	return fixture{dir, db, book}
}

func (f fixture) apply(t *testing.T, terminals ...directory.Terminal) {
	t.Helper()
	if err := f.book.Apply(t.Context(), terminals); err != nil {
		t.Fatal(err)
	}
}

func (f fixture) password(t *testing.T, ext string) string {
	t.Helper()
	p, err := f.book.Password(t.Context(), ext)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var (
	desk  = directory.Terminal{Extension: "8001", DisplayName: "张伟", Site: "hq", MAC: "00-15-65-AA-00-01", Model: "T54W"}
	soft  = directory.Terminal{Extension: "8002", AuthUser: "soft8002", Digest: directory.SHA256}
	off   = directory.Terminal{Extension: "8003", State: directory.Disabled}
	stock = directory.Terminal{MAC: "00156500ff01", State: directory.Spare, Model: "T54W"}
)

func TestLookups(t *testing.T) {
	f := open(t, t.TempDir())
	f.apply(t, desk, soft, off, stock)

	want := desk
	want.MAC, want.State, want.AuthUser, want.Digest = "00:15:65:aa:00:01", directory.Active, "8001", directory.MD5
	for name, find := range map[string]func() (directory.Terminal, bool){
		"extension": func() (directory.Terminal, bool) { return f.book.ByExtension("8001") },
		"auth user": func() (directory.Terminal, bool) { return f.book.ByAuthUser("8001") },
		"MAC":       func() (directory.Terminal, bool) { return f.book.ByMAC("0015.65AA.0001") },
	} {
		if got, ok := find(); !ok || cmp.Diff(want, got) != "" {
			t.Errorf("by %s: %v %s", name, ok, cmp.Diff(want, got))
		}
	}
	if _, ok := f.book.ByAuthUser("8002"); ok {
		t.Error("found by extension though it has an auth user")
	}
	if got, ok := f.book.ByAuthUser("soft8002"); !ok || got.Extension != "8002" {
		t.Errorf("by own auth user: %+v, %v", got, ok)
	}
	if _, ok := f.book.ByAuthUser("8003"); ok {
		t.Error("a disabled terminal may authenticate")
	}
	if _, ok := f.book.ByExtension("8003"); !ok {
		t.Error("a disabled terminal is not listed")
	}
	if got, ok := f.book.ByMAC("00:15:65:00:FF:01"); !ok || got.MayRegister() {
		t.Errorf("spare phone: %+v, %v", got, ok)
	}
	for _, none := range []string{"", "9999"} {
		if _, ok := f.book.ByExtension(none); ok {
			t.Errorf("found extension %q", none)
		}
		if _, ok := f.book.ByMAC(none); ok {
			t.Errorf("found MAC %q", none)
		}
		if _, err := f.book.Password(t.Context(), none); !errors.Is(err, directory.ErrUnknown) {
			t.Errorf("password of %q: %v", none, err)
		}
	}
	if got := len(f.book.All()); got != 4 {
		t.Errorf("%d terminals", got)
	}
}

func TestPasswords(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	f.apply(t, desk, soft)
	first, second := f.password(t, "8001"), f.password(t, "8002")
	safe := regexp.MustCompile(`^[A-HJ-NP-Za-km-z2-9]{16,}$`)
	if !safe.MatchString(first) || !safe.MatchString(second) || first == second {
		t.Errorf("passwords %q and %q", first, second)
	}
	f.apply(t, soft) // the row goes ...
	if _, err := f.book.Password(t.Context(), "8001"); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("password of a removed row: %v", err)
	}
	f.apply(t, desk, soft) // ... and comes back
	if got := f.password(t, "8001"); got != first {
		t.Error("a row that came back has another password")
	}
	f = open(t, dir) // restart
	f.apply(t, desk, soft)
	if f.password(t, "8001") != first || f.password(t, "8002") != second {
		t.Error("passwords differ after a restart")
	}
	renewed, err := f.book.RenewPassword(t.Context(), "8001")
	if err != nil || renewed == first || f.password(t, "8001") != renewed || f.password(t, "8002") != second {
		t.Errorf("renewed: %v", err)
	}
	if _, err := f.book.RenewPassword(t.Context(), "7777"); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("renewing an unknown one: %v", err)
	}
	f = open(t, dir)
	f.apply(t, desk)
	if f.password(t, "8001") != renewed {
		t.Error("the renewed password did not last")
	}
}

// A phone that is given its next password registers with either until it has used the new one, over restarts and crashes
// between any two steps.
func TestAPasswordIsRotatedInTwoSteps(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	f.apply(t, desk, soft)
	old, other := f.password(t, "8001"), f.password(t, "8002")
	if made := f.book.MadeAt("8001"); time.Since(made) > time.Minute || time.Since(made) < -time.Second {
		t.Errorf("made at %v", made)
	}
	if fresh, err := f.book.Rotate(t.Context(), "8001"); err != nil || !fresh {
		t.Fatalf("rotate: %v, %v", fresh, err)
	}
	next, waits := f.book.Next("8001")
	if !waits || next == old || len(next) < 16 || f.password(t, "8001") != old {
		t.Errorf("next %q, %v", next, waits)
	}
	state := func(want string) {
		t.Helper()
		newest, err := f.book.Newest(t.Context(), "8001")
		if err != nil || newest != want || f.password(t, "8002") != other {
			t.Errorf("newest %q, %v, want %q", newest, err, want)
		}
	}
	state(next)
	f = open(t, dir)
	f.apply(t, desk, soft)
	if fresh, err := f.book.Rotate(t.Context(), "8001"); err != nil || fresh { // an apply that was killed asks again
		t.Errorf("rotated twice: %v, %v", fresh, err)
	}
	state(next)
	f.apply(t, soft)
	f.apply(t, desk, soft) // the row was away
	state(next)
	if err := f.book.Confirm(t.Context(), "8001"); err != nil || f.password(t, "8001") != next {
		t.Errorf("confirmed: %v", err)
	}
	if err := f.book.Confirm(t.Context(), "8001"); err != nil {
		t.Error(err)
	}
	f = open(t, dir)
	f.apply(t, desk, soft)
	if _, waits := f.book.Next("8001"); waits || f.password(t, "8001") != next {
		t.Error("the confirmed password did not last")
	}
	if _, err := f.book.Rotate(t.Context(), "8001"); err != nil {
		t.Fatal(err)
	}
	renewed, err := f.book.RenewPassword(t.Context(), "8001") // a lost phone: neither is accepted
	if _, waits := f.book.Next("8001"); err != nil || waits {
		t.Errorf("renewed: %v, next waits: %v", err, waits)
	}
	state(renewed)
	if _, err := f.book.Rotate(t.Context(), "7777"); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("rotating an unknown one: %v", err)
	}
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.book.Rotate(t.Context(), "8001"); err == nil {
		t.Error("rotated in a closed database")
	}
	if _, waits := f.book.Next("8001"); waits {
		t.Error("a failed rotation is in use")
	}
}

func TestPasswordsAreSealedAtRest(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	f.apply(t, desk)
	password := f.password(t, "8001")
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(password)) {
			t.Errorf("the password is readable in %s", file)
		}
	}
}

func TestAnotherMasterKeyIsAnError(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	f.apply(t, desk)
	if err := os.Remove(filepath.Join(dir, secret.KeyFile)); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir)
	if err := f.book.Apply(t.Context(), []directory.Terminal{desk}); !errors.Is(err, secret.ErrSealed) || !strings.Contains(err.Error(), "8001") {
		t.Errorf("error %v", err)
	}
}

func TestApplyIsAllOrNothing(t *testing.T) {
	f := open(t, t.TempDir())
	f.apply(t, desk)
	for name, tc := range map[string]struct {
		rows []directory.Terminal
		want string
	}{
		"extension twice": {[]directory.Terminal{soft, {Extension: "8002"}}, "extension 8002 is there twice"},
		"user twice":      {[]directory.Terminal{soft, {Extension: "8009", AuthUser: "soft8002"}}, "auth user soft8002"},
		"MAC twice":       {[]directory.Terminal{desk, {Extension: "8009", MAC: "001565aa0001"}}, "MAC 00:15:65:aa:00:01"},
		"bad MAC":         {[]directory.Terminal{{Extension: "8009", MAC: "00:15"}}, "no MAC address"},
		"bad state":       {[]directory.Terminal{{Extension: "8009", State: "broken"}}, `state "broken"`},
		"bad digest":      {[]directory.Terminal{{Extension: "8009", Digest: "SHA-1"}}, `digest "SHA-1"`},
		"no extension":    {[]directory.Terminal{{MAC: "001565aa0001"}}, "needs an extension"},
	} {
		t.Run(name, func(t *testing.T) {
			err := f.book.Apply(t.Context(), tc.rows)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			if all := f.book.All(); len(all) != 1 || all[0].Extension != "8001" {
				t.Errorf("a refused Apply changed the rows to %v", all)
			}
		})
	}
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.book.Apply(t.Context(), []directory.Terminal{desk, soft}); err == nil {
		t.Error("no error from a closed database")
	}
	if len(f.book.All()) != 1 {
		t.Error("a failed Apply changed the rows")
	}
}

// Readers see either all of the old rows or all of the new ones, with their passwords.
func TestLookupsDuringApply(t *testing.T) {
	f := open(t, t.TempDir())
	rows := func(n int) []directory.Terminal {
		out := make([]directory.Terminal, 0, n)
		for i := range n {
			out = append(out, directory.Terminal{Extension: fmt.Sprint(8000 + i)})
		}
		return out
	}
	f.apply(t, rows(120)...)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if n := len(f.book.All()); n != 120 && n != 60 {
					t.Errorf("%d rows", n)
					return
				}
				if _, err := f.book.Password(t.Context(), "8003"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 20 {
		f.apply(t, rows(60+60*(i%2))...)
	}
	close(stop)
	readers.Wait()
}

func TestNewPasswordUsesTheWholeAlphabetEvenly(t *testing.T) {
	counts := map[rune]int{}
	const n = 3000
	for range n {
		for _, r := range directory.NewPassword() {
			counts[r]++
		}
	}
	if len(counts) != 57 {
		t.Errorf("%d different letters", len(counts))
	}
	mean := n * 20 / len(counts)
	for r, c := range counts {
		if c < mean*3/4 || c > mean*5/4 {
			t.Errorf("%c came %d times, about %d expected", r, c, mean)
		}
	}
}

func FuzzNormalMAC(f *testing.F) {
	for _, s := range []string{"00:15:65:00:00:01", "0015.65AA.BBCC", "00-15-65-aa-bb-cc", "", "zz", "00:15:65:00:00:01:02"} {
		f.Add(s)
	}
	shape := regexp.MustCompile(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`)
	f.Fuzz(func(t *testing.T, text string) {
		mac, err := directory.NormalMAC(text)
		if err != nil {
			return
		}
		if again, err := directory.NormalMAC(mac); err != nil || again != mac || !shape.MatchString(mac) {
			t.Errorf("%q -> %q -> %q, %v", text, mac, again, err)
		}
	})
}
