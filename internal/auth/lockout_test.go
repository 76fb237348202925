package auth

import (
	"fmt"
	"testing"
	"time"
)

func TestLockoutIsBounded(t *testing.T) {
	l := newLockout(DefaultConfig().Lockout)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 8 {
		l.fail("admin", "10.0.0.1", now)
	}
	for i := range maxTracked/2 + 200 {
		l.fail(fmt.Sprint("user", i), "10.0.0.2", now.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(l.entries); n > maxTracked {
		t.Errorf("%d entries", n)
	}
}

func TestWaitsNeverPassTheirLimit(t *testing.T) {
	l := newLockout(DefaultConfig().Lockout)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 200 {
		l.fail("admin", "10.0.0.1", now)
	}
	if got := l.wait("admin", "10.0.0.1", now); got != DefaultConfig().Lockout.MaxDelay {
		t.Errorf("pair waits %v", got)
	}
	if got := l.wait("admin", "10.0.0.2", now); got != maxAccountWait {
		t.Errorf("account waits %v", got)
	}
	if got := l.wait("anna", "10.0.0.1", now); got != DefaultConfig().Lockout.MaxDelay {
		t.Errorf("source waits %v", got)
	}
	l.fail("admin", "10.0.0.1", now.Add(2*time.Hour)) // forgotten by then
	if got := l.wait("admin", "10.0.0.1", now.Add(2*time.Hour)); got != 0 {
		t.Errorf("after two quiet hours: %v", got)
	}
}

func TestStoredHashesAreCheckedBeforeUse(t *testing.T) {
	h := newHasher(cost{argonMemoryKiB, argonTime})
	good, err := h.hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := h.fits(t.Context(), good, "password"); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	for _, bad := range []string{
		"$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=16$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=19456,t=2,p=1$AAAA$A", "plain", "$$$$$",
	} {
		if ok, err := h.fits(t.Context(), bad, "password"); ok || err == nil {
			t.Errorf("%s: %v, %v", bad, ok, err)
		}
	}
	if ok, err := h.fits(t.Context(), "", ""); ok || err != nil {
		t.Errorf("no hash: %v, %v", ok, err)
	}
}
