// Package secret encrypts at rest what must be kept in clear: SIP passwords, whose realm and algorithm can change, and
// keys of the like. Console passwords are not kept at all; see internal/auth.
//
// A Box has one random 256-bit master key in DATA/secret.key (0600). Each value is sealed with XChaCha20-Poly1305 under
// a key derived from the master for its purpose (HKDF-SHA-256, RFC 5869); the purpose is authenticated, so that a value
// cannot be moved from one row to another when the purpose names the row. It protects database backups and copies, not
// a machine whose root is the attacker.
//
// A Box may be used from many goroutines at once.
//
//	box, err := secret.Open(dir)
//	sealed, err := box.Seal("sip password 8001", []byte("xyz"))
//	plain, err := box.Open("sip password 8001", sealed)
package secret

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeyFile is the name of the master key in the folder given to Open.
const KeyFile = "secret.key"

const (
	version    = 1 // first byte of everything sealed
	keyComment = "# Linehall master key. Keep it with backups of the database, and away from everybody else.\n"
)

// ErrSealed means that a value cannot be opened: it was altered, sealed under another key or for another purpose.
var ErrSealed = errors.New("sealed value cannot be opened: altered, or sealed with another key or for another purpose")

// Box seals and opens values.
type Box struct {
	master []byte
}

// Open reads the master key of the folder, or makes one when there is none. A key file that others may read, or that
// is damaged, is an error: a new key would lose every secret.
func Open(dir string) (*Box, error) {
	path := filepath.Join(dir, KeyFile)
	key, err := readKey(path)
	if errors.Is(err, os.ErrNotExist) {
		key, err = makeKey(dir, path)
	}
	if err != nil {
		return nil, fmt.Errorf("master key %s: %w", path, err)
	}
	return &Box{master: key}, nil
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("mode %#o lets others read it; run chmod 600", mode)
	}
	text, err := os.ReadFile(path) //nolint:gosec // the path is the operator's own setting
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != chacha20poly1305.KeySize {
			return nil, errors.New("the file is damaged; restore it from the backup that belongs to the database")
		}
		return key, nil
	}
	return nil, errors.New("the file is empty; restore it from the backup that belongs to the database")
}

// makeKey writes the file completely before it gets its name, so that a power cut leaves no half key.
func makeKey(dir, path string) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	key := make([]byte, chacha20poly1305.KeySize)
	_, _ = rand.Read(key)                     // never fails (crypto/rand)
	f, err := os.CreateTemp(dir, ".secret-*") // 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(keyComment + base64.StdEncoding.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	// Link fails when another process was faster; then its key counts.
	if err := os.Link(f.Name(), path); err != nil {
		if errors.Is(err, os.ErrExist) {
			return readKey(path)
		}
		return nil, err
	}
	return key, nil
}

// Seal encrypts plain for a purpose; the same purpose opens it. The result is version, nonce, ciphertext and tag.
func (b *Box) Seal(purpose string, plain []byte) ([]byte, error) {
	key, err := b.derive(purpose)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	out := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	out[0] = version
	_, _ = rand.Read(out[1:])
	return aead.Seal(out, out[1:], plain, []byte(purpose)), nil //nolint:gosec // the nonce is random, after the version byte
}

// Open returns what was sealed for the purpose, or ErrSealed.
func (b *Box) Open(purpose string, sealed []byte) ([]byte, error) {
	key, err := b.derive(purpose)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("open sealed value: %w", err)
	}
	if len(sealed) < 1+aead.NonceSize()+aead.Overhead() || sealed[0] != version {
		return nil, ErrSealed
	}
	nonce, text := sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, text, []byte(purpose))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// Derive returns n bytes that depend on the master key and the label only: a stable key for HMACs that must survive a
// restart, such as that of digest nonces.
func (b *Box) Derive(label string, n int) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, b.master, nil, "linehall derived key: "+label, n)
	if err != nil {
		return nil, fmt.Errorf("derive %s: %w", label, err)
	}
	return key, nil
}

func (b *Box) derive(purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, b.master, nil, "linehall sealed value: "+purpose, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return key, nil
}
