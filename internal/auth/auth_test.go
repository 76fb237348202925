package auth_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linehall/internal/auth"
	"linehall/internal/database"
)

const password = "correct horse battery"

func open(t *testing.T, path string) *auth.Service {
	t.Helper()
	db, err := database.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, auth.Schema()); err != nil {
		t.Fatal(err)
	}
	s, err := auth.Open(t.Context(), db, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fresh returns an empty service with cheap hashes.
func fresh(t *testing.T) *auth.Service {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "x.db"))
	s.MakeCheap()
	return s
}

func addUser(t *testing.T, s *auth.Service, name string, role auth.Role) {
	t.Helper()
	if err := s.AddUser(t.Context(), auth.NewUser{Name: name, Password: password, Role: role}); err != nil {
		t.Fatal(err)
	}
}

func TestLogin(t *testing.T) {
	s := fresh(t)
	if err := s.AddUser(t.Context(), auth.NewUser{Name: "anna", Password: password, Role: auth.Operator, Site: "branch1"}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Login(t.Context(), "anna", password, "10.0.0.5")
	want := auth.Principal{Kind: auth.KindUser, Name: "anna", Role: auth.Operator, Site: "branch1"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for name, try := range map[string][2]string{
		"wrong password":   {"anna", "wrong horse battery"},
		"unknown user":     {"berta", password},
		"empty":            {"", ""},
		"a megabyte":       {"anna", strings.Repeat("x", 1<<20)},
		"right and longer": {"anna", password + strings.Repeat("x", 300)},
	} {
		if _, err := s.Login(t.Context(), try[0], try[1], name); !errors.Is(err, auth.ErrRefused) || err.Error() != auth.ErrRefused.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUsers(t *testing.T) {
	s := fresh(t)
	addUser(t, s, "root", auth.Admin)
	addUser(t, s, "anna", auth.Auditor)
	for name, tc := range map[string]struct {
		user auth.NewUser
		want error
	}{
		"exists":           {auth.NewUser{Name: "anna", Password: password, Role: auth.Admin}, auth.ErrExists},
		"name":             {auth.NewUser{Name: "an na", Password: password, Role: auth.Admin}, auth.ErrInvalid},
		"role":             {auth.NewUser{Name: "x", Password: password, Role: "king"}, auth.ErrInvalid},
		"short password":   {auth.NewUser{Name: "x", Password: "short", Role: auth.User}, auth.ErrInvalid},
		"long password":    {auth.NewUser{Name: "x", Password: strings.Repeat("x", 257), Role: auth.User}, auth.ErrInvalid},
		"name as password": {auth.NewUser{Name: "longlonglong", Password: "LONGlonglong", Role: auth.User}, auth.ErrInvalid},
	} {
		if err := s.AddUser(t.Context(), tc.user); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	users, err := s.ListUsers(t.Context())
	want := []auth.Account{{Name: "anna", Role: auth.Auditor}, {Name: "root", Role: auth.Admin}}
	if diff := cmp.Diff(want, users, cmpopts.IgnoreFields(auth.Account{}, "CreatedAt", "ChangedAt")); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if err := s.SetPassword(t.Context(), "anna", "another good one"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Login(t.Context(), "anna", password, ""); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("old password: %v", err)
	}
	if _, err := s.Login(t.Context(), "anna", "another good one", ""); err != nil {
		t.Errorf("new password: %v", err)
	}
	if err := s.SetPassword(t.Context(), "nobody", password); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("password of nobody: %v", err)
	}
	if err := s.RemoveUser(t.Context(), "root"); !errors.Is(err, auth.ErrLastAdmin) {
		t.Errorf("removing the last administrator: %v", err)
	}
	if err := s.RemoveUser(t.Context(), "anna"); err != nil {
		t.Error(err)
	}
	if _, _, err := s.UserPrincipal(t.Context(), "anna"); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("a removed user: %v", err)
	}
}

func fails(t *testing.T, s *auth.Service, n int, user, source string) {
	t.Helper()
	for i := range n {
		if _, err := s.Login(t.Context(), user, "wrong password", source); !errors.Is(err, auth.ErrRefused) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
}

func lockedFor(t *testing.T, s *auth.Service, user, source string) time.Duration {
	t.Helper()
	_, err := s.Login(t.Context(), user, password, source)
	if locked, ok := errors.AsType[*auth.LockedError](err); ok {
		return locked.RetryAfter
	}
	return 0
}

func TestLockoutGrowsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fresh(t)
		addUser(t, s, "anna", auth.User)
		for _, user := range []string{"anna", "nobody"} { // the answer does not say who exists
			source := "10.0.0." + fmt.Sprint(len(user))
			fails(t, s, 5, user, source)
			for _, wait := range []time.Duration{1, 2, 4, 8} {
				if got := lockedFor(t, s, user, source); got != wait*time.Second {
					t.Errorf("%s: locked for %v, want %v", user, got, wait*time.Second)
				}
				time.Sleep(wait * time.Second)
				fails(t, s, 1, user, source)
			}
		}
		if _, err := s.Login(t.Context(), "anna", password, "10.0.0.77"); err != nil {
			t.Errorf("from another source: %v", err)
		}
		time.Sleep(16 * time.Second)
		if _, err := s.Login(t.Context(), "anna", password, "10.0.0.4"); err != nil {
			t.Errorf("after the wait: %v", err)
		}
		fails(t, s, 5, "anna", "10.0.0.4") // a success gives the free attempts back
	})
}

func TestASourceThatTriesManyAccountsIsLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fresh(t)
		addUser(t, s, "anna", auth.User)
		for i := range 20 {
			fails(t, s, 1, fmt.Sprint("user", i), fmt.Sprintf("2001:db8::%d", i)) // one /64 is one source
		}
		if lockedFor(t, s, "anna", "2001:db8::ffff") == 0 {
			t.Error("not locked")
		}
		if got := lockedFor(t, s, "anna", "2001:db8:0:1::1"); got != 0 {
			t.Errorf("another network locked for %v", got)
		}
	})
}

func TestManySourcesCannotKeepAnAccountOutForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fresh(t)
		addUser(t, s, "anna", auth.User)
		for i := range 60 {
			for lockedFor(t, s, "anna", fmt.Sprint("10.9.9.", i)) > 0 {
				time.Sleep(time.Second)
			}
			_, _ = s.Login(t.Context(), "anna", "wrong password", fmt.Sprint("10.9.8.", i))
		}
		if got := lockedFor(t, s, "anna", "10.0.0.1"); got > 30*time.Second {
			t.Errorf("locked for %v", got)
		}
	})
}

func TestManyLoginsAtOnceAreRefusedNotQueued(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db")) // at the full cost of a hash
	addUser(t, s, "anna", auth.User)
	const n = 60
	var (
		logins     sync.WaitGroup
		mu         sync.Mutex
		fine, busy int
	)
	for i := range n {
		logins.Go(func() {
			_, err := s.Login(t.Context(), "anna", password, fmt.Sprint("10.0.1.", i))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				fine++
			case errors.Is(err, auth.ErrBusy):
				busy++
			default:
				t.Error(err)
			}
		})
	}
	logins.Wait()
	if fine == 0 || busy == 0 {
		t.Errorf("%d went through, %d were told to come back", fine, busy)
	}
}

func TestFirstAdmin(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "x.db"))
	path, err := s.FirstAdmin(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if path != filepath.Join(dir, "admin-password") {
		t.Errorf("path %s", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Login(t.Context(), "admin", strings.TrimSpace(string(text)), "")
	if err != nil || p.Role != auth.Admin {
		t.Errorf("%+v, %v", p, err)
	}
	if again, err := s.FirstAdmin(t.Context(), dir); err != nil || again != path {
		t.Errorf("second start: %q, %v", again, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, text) {
		t.Errorf("the second start changed the password: %v", err)
	}
	if err := s.SetPassword(t.Context(), "admin", password); err != nil {
		t.Fatal(err)
	}
	if again, err := s.FirstAdmin(t.Context(), dir); err != nil || again != "" {
		t.Errorf("after a change: %q, %v", again, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale password file is still there: %v", err)
	}
}

func TestFirstAdminNeedsItsFile(t *testing.T) {
	s := fresh(t)
	if _, err := s.FirstAdmin(t.Context(), filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Fatal("no error")
	}
	if users, err := s.ListUsers(t.Context()); err != nil || len(users) != 0 {
		t.Errorf("an administrator whose password nobody knows: %v, %v", users, err)
	}
}

func TestTokens(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	s := open(t, path)
	token, plain, err := s.AddToken(t.Context(), auth.NewToken{Name: "whip", Role: auth.Room, Room: "9000"})
	if err != nil {
		t.Fatal(err)
	}
	want := auth.Principal{Kind: auth.KindToken, Name: "whip", ID: token.ID, Role: auth.Room, Room: "9000"}
	if got, err := s.Bearer(t.Context(), plain); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if p := want; !p.MayEnter("9000") || p.MayEnter("9001") {
		t.Error("a token for one room must enter that room only")
	}
	content, err := os.ReadFile(path + "-wal")
	if err != nil || bytes.Contains(content, []byte(plain)) {
		t.Errorf("the token is readable at rest (%v)", err)
	}
	for _, bad := range []string{"", "lht_", plain + "x", plain[:len(plain)-1], "lhd_" + plain[4:], strings.Repeat("a", 1<<16)} {
		if _, err := s.Bearer(t.Context(), bad); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	list, err := s.ListTokens(t.Context())
	if err != nil || len(list) != 1 || list[0].LastUsedAt.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	if err := s.RevokeToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bearer(t.Context(), plain); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("revoked: %v", err)
	}
	if err := s.RevokeToken(t.Context(), token.ID); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	if _, _, err := s.AddToken(t.Context(), auth.NewToken{Role: auth.Admin, Room: "9000"}); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("an administrator of one room: %v", err)
	}
}

func TestTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fresh(t)
		token, plain, err := s.AddToken(t.Context(), auth.NewToken{Role: auth.User, ExpiresAt: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		if _, err := s.Bearer(t.Context(), plain); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if _, err := s.Bearer(t.Context(), plain); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("after its end: %v", err)
		}
		if _, err := s.TokenPrincipal(t.Context(), token.ID); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("by id after its end: %v", err)
		}
	})
}

func TestDevices(t *testing.T) {
	s := fresh(t)
	d, plain, err := s.NewDevice(t.Context(), "9000", "branch1", "branch1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Device(t.Context(), plain)
	if err != nil || got.Kind != auth.KindDevice || got.Role != auth.Room || got.Room != "9000" || got.Venue != "branch1" || got.Site != "branch1" {
		t.Errorf("%+v, %v", got, err)
	}
	if again, err := s.DevicePrincipal(t.Context(), d.ID); err != nil || again != got {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := s.Bearer(t.Context(), plain); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("a device token as bearer token: %v", err)
	}
	if _, _, err := s.NewDevice(t.Context(), "9001", "hq", "hq"); err != nil {
		t.Fatal(err)
	}
	all, err := s.ListDevices(t.Context(), "")
	if err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	one, err := s.ListDevices(t.Context(), "9000")
	if err != nil || len(one) != 1 || one[0].ID != d.ID {
		t.Errorf("%v, %v", one, err)
	}
	if err := s.RevokeDevice(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Device(t.Context(), plain); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("revoked: %v", err)
	}
	if _, err := s.DevicePrincipal(t.Context(), d.ID); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("revoked, by id: %v", err)
	}
	if _, _, err := s.NewDevice(t.Context(), "9000", "", ""); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("without a venue: %v", err)
	}
}

func TestPrincipals(t *testing.T) {
	if _, ok := auth.PrincipalFrom(t.Context()); ok {
		t.Error("a principal out of nothing")
	}
	p, ok := auth.PrincipalFrom(auth.WithPrincipal(t.Context(), auth.Local()))
	if !ok || p.Kind != auth.KindLocal || !p.Is(auth.Admin) || !p.MayEnter("9000") {
		t.Errorf("%+v, %v", p, ok)
	}
	if (auth.Principal{Role: auth.Auditor}).MayEnter("9000") {
		t.Error("an auditor enters meetings")
	}
	if _, err := auth.ParseRole("king"); err == nil || !strings.Contains(err.Error(), "auditor") {
		t.Errorf("error %v does not list the roles", err)
	}
}
