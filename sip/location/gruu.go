package location

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// A GRUU (RFC 5627) is a URI that leads to one instance of an AOR's phones, from anywhere:
//
//	public     sip:8001@linehall.test;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6
//	temporary  sip:tgruu.N0nce...@linehall.test;gr
//
// A public one says what it is and never changes. The user part of a temporary one is
//
//	"tgruu." base64url( nonce 12 | AES-256-GCM( instance hash 8 | Call-ID hash 8 | user ) )
//
// so that nobody can make one or tell to whom one belongs, and nothing has to be kept: it is good as long as the instance
// is registered under the Call-ID that it was given to (§3.1.2), also after a restart.
const (
	temporaryPrefix = "tgruu."
	hashBytes       = 8
)

// ErrNotGRUU says that the URI has the form of a GRUU of our domain, and is none.
var ErrNotGRUU = errors.New("no such GRUU")

// gruus makes and reads the GRUUs of one domain.
type gruus struct {
	domain string
	aead   cipher.AEAD // nil: no temporary ones
}

func newGRUUs(domain string, key []byte) (*gruus, error) {
	g := &gruus{domain: strings.ToLower(domain)}
	if len(key) == 0 {
		return g, nil
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of GRUUs: %w", err)
	}
	if g.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("key of GRUUs: %w", err)
	}
	return g, nil
}

// PublicGRUU is the public GRUU of a binding's instance; "" when it has none.
func (s *Service) PublicGRUU(b Binding) string {
	user, _, _ := strings.Cut(b.AOR, "@")
	instance := instanceURN(b.Instance)
	if instance == "" || s.gruus.domain == "" {
		return ""
	}
	return "sip:" + user + "@" + s.gruus.domain + ";gr=" + escapeParam(instance)
}

// TemporaryGRUU makes a new temporary GRUU for a binding; "" when it can have none.
func (s *Service) TemporaryGRUU(b Binding) string {
	user, _, _ := strings.Cut(b.AOR, "@")
	if instanceURN(b.Instance) == "" || s.gruus.domain == "" || s.gruus.aead == nil {
		return ""
	}
	nonce := make([]byte, s.gruus.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	instance, callID := shortHash(instanceURN(b.Instance)), shortHash(b.CallID)
	plain := slices.Concat(instance[:], callID[:], []byte(user))
	sealed := s.gruus.aead.Seal(nonce, nonce, plain, nil)
	return "sip:" + temporaryPrefix + base64.RawURLEncoding.EncodeToString(sealed) + "@" + s.gruus.domain + ";gr"
}

// Target is what a GRUU leads to.
type Target struct {
	User     string    // of the AOR
	Bindings []Binding // of that instance; none while it is not registered
}

// Resolve reads a GRUU. It returns false for any other URI, and ErrNotGRUU for one that looks like a GRUU of our domain
// and was never given out, or has ended with the registration that it belonged to (RFC 5627 §5.4: 404).
func (s *Service) Resolve(uri *sip.Uri) (Target, bool, error) {
	gr, ok := uri.UriParams.Get("gr")
	if !ok || s.gruus.domain == "" || !strings.EqualFold(uri.Host, s.gruus.domain) {
		return Target{}, false, nil
	}
	if gr == "" {
		t, err := s.temporary(uri.User)
		return t, true, err
	}
	want := strings.ToLower(unescapeParam(gr))
	t := Target{User: uri.User}
	for _, b := range s.Lookup(AOR(uri.User, s.gruus.domain)) {
		if strings.ToLower(instanceURN(b.Instance)) == want {
			t.Bindings = append(t.Bindings, b)
		}
	}
	return t, true, nil
}

func (s *Service) temporary(user string) (Target, error) {
	text, ok := strings.CutPrefix(user, temporaryPrefix)
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || s.gruus.aead == nil || len(sealed) < s.gruus.aead.NonceSize() {
		return Target{}, ErrNotGRUU
	}
	nonce := sealed[:s.gruus.aead.NonceSize()]
	plain, err := s.gruus.aead.Open(nil, nonce, sealed[len(nonce):], nil)
	if err != nil || len(plain) <= 2*hashBytes {
		return Target{}, ErrNotGRUU
	}
	t := Target{User: string(plain[2*hashBytes:])}
	current := false
	for _, b := range s.Lookup(AOR(t.User, s.gruus.domain)) {
		instance, callID := shortHash(instanceURN(b.Instance)), shortHash(b.CallID)
		if string(instance[:]) == string(plain[:hashBytes]) {
			t.Bindings = append(t.Bindings, b)
			current = current || string(callID[:]) == string(plain[hashBytes:2*hashBytes])
		}
	}
	if !current {
		return Target{}, ErrNotGRUU
	}
	return t, nil
}

// instanceURN takes the brackets off a +sip.instance; what is no URN makes no GRUU (RFC 5626 §4.1).
func instanceURN(instance string) string {
	urn := strings.TrimSuffix(strings.TrimPrefix(instance, "<"), ">")
	if len(urn) < 5 || !strings.EqualFold(urn[:4], "urn:") {
		return ""
	}
	return urn
}

func shortHash(text string) [hashBytes]byte {
	sum := sha256.Sum256([]byte(text))
	return [hashBytes]byte(sum[:hashBytes])
}

// escapeParam escapes what a URI parameter's value must not hold (RFC 3261 §25.1, paramchar).
func escapeParam(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-_.!~*'()[]/:&+$", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func unescapeParam(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			var v byte
			if _, err := fmt.Sscanf(text[i+1:i+3], "%02x", &v); err == nil {
				b.WriteByte(v)
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
