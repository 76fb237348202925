package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The parameters of new hashes: OWASP's first choice for argon2id, about 50 ms on one core of the reference machine.
const (
	argonMemoryKiB = 19 << 10
	argonTime      = 2
	argonThreads   = 1
	argonSaltLen   = 16
	argonKeyLen    = 32
)

const (
	parallelHashes = 2  // at once; each takes 19 MiB
	waitingHashes  = 16 // more than that get ErrBusy
)

// hasher bounds the work that strangers can cause.
type hasher struct {
	slots  chan struct{}
	queue  chan struct{}
	cost   cost   // of new hashes
	absent string // a hash that no password fits, for users who do not exist
}

type cost struct {
	memoryKiB, time uint32
}

func newHasher(c cost) *hasher {
	h := &hasher{
		cost:  c,
		slots: make(chan struct{}, parallelHashes),
		queue: make(chan struct{}, parallelHashes+waitingHashes),
	}
	var salt, key [argonKeyLen]byte
	_, _ = rand.Read(salt[:]) // never fails (crypto/rand)
	_, _ = rand.Read(key[:])
	h.absent = c.encode(salt[:argonSaltLen], key[:])
	return h
}

// enter takes a slot; full queues answer ErrBusy at once.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.queue <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; <-h.queue }, nil
	case <-ctx.Done():
		<-h.queue
		return nil, ctx.Err()
	}
}

// hash returns the PHC string of a new hash.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	salt := make([]byte, argonSaltLen)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	key := argon2.IDKey([]byte(password), salt, h.cost.time, h.cost.memoryKiB, argonThreads, argonKeyLen)
	return h.cost.encode(salt, key), nil
}

// fits compares in constant time; an empty hash takes as long as a real one and never fits.
func (h *hasher) fits(ctx context.Context, hash, password string) (bool, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	there := hash != ""
	if !there {
		hash = h.absent
	}
	p, err := decode(hash)
	if err != nil {
		return false, err
	}
	got := argon2.IDKey([]byte(password), p.salt, p.time, p.memoryKiB, p.threads, uint32(len(p.key))) //nolint:gosec // bounded by decode
	return subtle.ConstantTimeCompare(got, p.key) == 1 && there, nil
}

type phc struct {
	memoryKiB, time uint32
	threads         uint8
	salt, key       []byte
}

func (c cost) encode(salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memoryKiB, c.time, argonThreads,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

func decode(hash string) (phc, error) {
	var (
		p       phc
		version int
	)
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return p, errors.New("stored password hash is not argon2id")
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return p, errors.New("stored password hash has another version")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memoryKiB, &p.time, &p.threads); err != nil {
		return p, fmt.Errorf("stored password hash: %w", err)
	}
	var errSalt, errKey error
	p.salt, errSalt = base64.RawStdEncoding.DecodeString(parts[4])
	p.key, errKey = base64.RawStdEncoding.DecodeString(parts[5])
	switch {
	case errors.Join(errSalt, errKey) != nil:
		return p, fmt.Errorf("stored password hash: %w", errors.Join(errSalt, errKey))
	case p.memoryKiB < 8 || p.memoryKiB > 256<<10 || p.time < 1 || p.time > 16 || p.threads < 1 || len(p.key) < 16 || len(p.key) > 64:
		return p, errors.New("stored password hash has parameters out of range")
	}
	return p, nil
}
