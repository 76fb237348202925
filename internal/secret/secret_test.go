package secret_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"linehall/internal/secret"
)

func open(t *testing.T, dir string) *secret.Box {
	t.Helper()
	box, err := secret.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func TestSealedValuesOpenOnlyWithKeyAndPurpose(t *testing.T) {
	dir := t.TempDir()
	box := open(t, dir)
	sealed, err := box.Seal("sip password 8001", []byte("geheim"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("geheim")) {
		t.Error("the text is in the sealed value")
	}
	again := open(t, dir)
	if plain, err := again.Open("sip password 8001", sealed); err != nil || string(plain) != "geheim" {
		t.Errorf("after a restart: %q, %v", plain, err)
	}
	if _, err := again.Open("sip password 8002", sealed); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("another purpose: %v", err)
	}
	if _, err := open(t, t.TempDir()).Open("sip password 8001", sealed); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("another key: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := box.Open("sip password 8001", bad); !errors.Is(err, secret.ErrSealed) {
			t.Fatalf("byte %d altered: %v", i, err)
		}
		if _, err := box.Open("sip password 8001", sealed[:i]); !errors.Is(err, secret.ErrSealed) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	box := open(t, t.TempDir())
	rapid.Check(t, func(t *rapid.T) {
		purpose, plain := rapid.String().Draw(t, "purpose"), rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		sealed, err := box.Seal(purpose, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := box.Open(purpose, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%x, %v", got, err)
		}
	})
}

func TestDeriveIsStableAndSeparate(t *testing.T) {
	dir := t.TempDir()
	a, err := open(t, dir).Derive("digest nonces", 32)
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(t, dir).Derive("digest nonces", 32)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("not stable: %v", err)
	}
	c, err := open(t, dir).Derive("audit seal", 32)
	if err != nil || bytes.Equal(a, c) {
		t.Errorf("two labels, one key: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	path := filepath.Join(dir, secret.KeyFile)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"readable by others": {string(good), 0o644, "chmod 600"},
		"cut":                {string(good[:len(good)-9]), 0o600, "damaged"},
		"empty":              {"", 0o600, "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tc.text), tc.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := secret.Open(dir); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v", err)
			}
		})
	}
}
