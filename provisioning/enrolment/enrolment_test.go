package enrolment_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"linehall/internal/database"
	"linehall/internal/secret"
	"linehall/provisioning/enrolment"
)

const mac = "00:15:65:ab:cd:ef"

// bench is a book on a real database, with a clock that the test turns.
type bench struct {
	t    *testing.T
	db   *sql.DB
	box  *secret.Box
	now  time.Time
	book *enrolment.Book
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	db, err := database.Open(t.Context(), filepath.Join(dir, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := database.Migrate(t.Context(), db, enrolment.Schema()); err != nil {
		t.Fatal(err)
	}
	box, err := secret.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: db, box: box, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	b.restart()
	return b
}

func (b *bench) restart() {
	b.t.Helper()
	book, err := enrolment.Open(b.t.Context(), b.db, b.box, func() time.Time { return b.now })
	if err != nil {
		b.t.Fatal(err)
	}
	b.book = book
}

func (b *bench) open(minutes int) {
	b.t.Helper()
	if _, err := b.book.OpenWindow(b.t.Context(), "branch1", time.Duration(minutes)*time.Minute, "admin"); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) token() string {
	b.t.Helper()
	token, err := b.book.Token(b.t.Context(), mac, "branch1")
	if err != nil && !errors.Is(err, enrolment.ErrClosed) {
		b.t.Fatal(err)
	}
	return token
}

func (b *bench) admit(token string) bool {
	b.t.Helper()
	admission, err := b.book.Admit(b.t.Context(), mac, token)
	if err != nil {
		b.t.Fatal(err)
	}
	return admission != enrolment.Refused
}

func TestATokenIsGivenOnlyInsideTheWindow(t *testing.T) {
	b := newBench(t)
	if b.token() != "" {
		t.Error("a token without a window")
	}
	b.open(30)
	if _, err := b.book.Token(t.Context(), mac, "branch2"); !errors.Is(err, enrolment.ErrClosed) {
		t.Errorf("another site's window: %v", err)
	}
	first := b.token()
	if len(first) < 26 || first != b.token() {
		t.Errorf("token %q is short, or changes before it was used", first)
	}
	b.now = b.now.Add(30 * time.Minute)
	if b.token() != "" || len(b.book.Windows()) != 0 {
		t.Error("the window did not close by itself")
	}
	if !b.admit(first) {
		t.Error("the token ended with the window")
	}
}

func TestTheFirstUseEndsTheWindowForThePhone(t *testing.T) {
	b := newBench(t)
	b.open(30)
	first := b.token()
	if b.admit("") || b.admit(first+"x") || !b.admit(first) {
		t.Error("the token decides wrongly")
	}
	if device, _ := b.book.Device(mac); !device.Enrolled() {
		t.Error("the phone is not enrolled")
	}
	if b.token() != "" {
		t.Error("the window is still open for an enrolled phone")
	}
	if all, err := enrolment.Enrolled(t.Context(), b.db); err != nil || len(all) != 1 || !all[mac] {
		t.Errorf("enrolled: %v, %v", all, err)
	}
	b.now = b.now.Add(time.Hour)
	b.open(30)
	second := b.token()
	if all, err := enrolment.Enrolled(t.Context(), b.db); err != nil || len(all) != 0 {
		t.Errorf("enrolled with a token that was not used: %v, %v", all, err)
	}
	if second == "" || second == first || b.admit(first) || !b.admit(second) {
		t.Error("a new window does not replace the token")
	}
}

func TestARestartForgetsNothing(t *testing.T) {
	b := newBench(t)
	b.open(30)
	token := b.token()
	b.restart()
	if b.token() != token || len(b.book.Windows()) != 1 {
		t.Error("window or token were lost")
	}
	if !b.admit(token) {
		t.Error("the token is refused after a restart")
	}
	if err := b.book.Delivered(t.Context(), mac, "127.0.1.20", "Yealink"); err != nil {
		t.Fatal(err)
	}
	want, _ := b.book.Device(mac)
	b.restart()
	if got, ok := b.book.Device(mac); !ok || got != want || !got.ProvisionedAt.Equal(b.now) {
		t.Errorf("device %+v, want %+v", got, want)
	}
	var leaked int
	if err := b.db.QueryRow("SELECT count(*) FROM enrolment_devices WHERE instr(token, ?)", token).Scan(&leaked); err != nil || leaked != 0 {
		t.Errorf("the token lies open in the database: %d, %v", leaked, err)
	}
}

func TestRevokeAndClose(t *testing.T) {
	b := newBench(t)
	b.open(30)
	token := b.token()
	if err := b.book.Revoke(t.Context(), mac); err != nil || b.admit(token) {
		t.Errorf("a revoked token is admitted: %v", err)
	}
	if again := b.token(); again == "" || again == token {
		t.Error("a revoked phone cannot enrol again in the open window")
	}
	if err := b.book.CloseWindow(t.Context(), "branch1"); err != nil || b.token() != "" {
		t.Errorf("the closed window is open: %v", err)
	}
	if _, err := b.book.OpenWindow(t.Context(), "", time.Minute, ""); err == nil {
		t.Error("a window without a site")
	}
}

// A phone that somebody has named enrols once while its site is closed; nobody else does.
func TestAPhoneThatIsExpected(t *testing.T) {
	b := newBench(t)
	if err := b.book.Expect(t.Context(), mac, 10*time.Minute, "admin"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.book.Token(t.Context(), "00:15:65:00:00:09", "branch1"); !errors.Is(err, enrolment.ErrClosed) {
		t.Errorf("another phone: %v", err)
	}
	b.restart()
	token := b.token()
	if token == "" || !b.admit(token) || b.token() != "" {
		t.Error("it does not enrol exactly once")
	}
	b.now = b.now.Add(time.Minute)
	if err := b.book.Expect(t.Context(), mac, 10*time.Minute, "admin"); err != nil {
		t.Fatal(err)
	}
	if again := b.token(); again == "" || again == token {
		t.Error("named again it does not enrol again")
	}
	b.now = b.now.Add(10 * time.Minute)
	if b.token() != "" {
		t.Error("it is expected for ever")
	}
	b.restart()
	b.open(30)
	if b.token() == "" {
		t.Error("the window of its site does not count any more")
	}
}
