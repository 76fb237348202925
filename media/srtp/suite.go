package srtp

import (
	"crypto/rand"
	"strings"
)

// Suite is a crypto suite.
type Suite uint8

// The suites, in the order in which we offer them: what desk phones share first, and the short tag last.
const (
	AESCM128HMACSHA180 Suite = iota + 1 // RFC 4568 §6.2.1
	AEADAES128GCM                       // RFC 7714 §14.2
	AEADAES256GCM
	AESCM256HMACSHA180 // RFC 6188 §4.1
	AESCM256HMACSHA132
	AESCM128HMACSHA132 // RFC 4568 §6.2.2
	suites             = iota
)

// parameters of a suite: sizes in bytes.
type parameters struct {
	name    string
	key     int
	salt    int
	tag     int // of RTP
	control int // of RTCP
	aead    bool
}

var suiteTable = [suites + 1]parameters{
	AESCM128HMACSHA180: {"AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10, false},
	AESCM128HMACSHA132: {"AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10, false}, // §6.2.2: the tag of SRTCP stays long
	AESCM256HMACSHA180: {"AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10, false},
	AESCM256HMACSHA132: {"AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10, false},
	AEADAES128GCM:      {"AEAD_AES_128_GCM", 16, 12, 16, 16, true},
	AEADAES256GCM:      {"AEAD_AES_256_GCM", 32, 12, 16, 16, true},
}

// Suites returns all suites in the order in which we offer them.
func Suites() []Suite {
	out := make([]Suite, suites)
	for i := range out {
		out[i] = Suite(i + 1)
	}
	return out
}

// SuiteNamed finds a suite by its name in RFC 4568, RFC 6188 or RFC 7714.
func SuiteNamed(name string) (Suite, bool) {
	for _, s := range Suites() {
		if strings.EqualFold(s.String(), name) {
			return s, true
		}
	}
	return 0, false
}

// String returns the name in SDES; "" for the zero value.
func (s Suite) String() string { return s.parameters().name }

func (s Suite) parameters() parameters {
	if s > suites {
		return parameters{}
	}
	return suiteTable[s]
}

// Overhead is the most that Seal adds to a packet: the tag of AES-GCM and the index of SRTCP.
const Overhead = 16 + 4

// Key is a master key with its salt. It prints as its suite only.
type Key struct {
	Suite  Suite
	master []byte
	salt   []byte
	mki    int // octets of the identifier that the other side sends, which has only this key
}

// NewKey makes a key.
func NewKey(s Suite) Key {
	p := s.parameters()
	k := Key{Suite: s, master: make([]byte, p.key), salt: make([]byte, p.salt)}
	_, _ = rand.Read(k.master) // never fails (crypto/rand)
	_, _ = rand.Read(k.salt)
	return k
}

// Valid reports whether there is a key.
func (k Key) Valid() bool { return k.Suite != 0 }

// Equal reports whether two keys are the same.
func (k Key) Equal(o Key) bool {
	return k.Suite == o.Suite && k.mki == o.mki && string(k.master) == string(o.master) && string(k.salt) == string(o.salt)
}

// String keeps the key out of logs.
func (k Key) String() string { return k.Suite.String() }

// GoString keeps the key out of logs.
func (k Key) GoString() string { return k.String() }

// Sizes returns the octets of a master key and of its salt.
func (s Suite) Sizes() (key, salt int) {
	p := s.parameters()
	return p.key, p.salt
}

// KeyFrom makes a key of what a handshake agreed on (RFC 5764 §4.2); the zero Key when the sizes are not the suite's.
func KeyFrom(s Suite, master, salt []byte) Key {
	if k, l := s.Sizes(); len(master) != k || len(salt) != l || k == 0 {
		return Key{}
	}
	return Key{Suite: s, master: append([]byte(nil), master...), salt: append([]byte(nil), salt...)}
}
