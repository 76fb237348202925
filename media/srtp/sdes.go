package srtp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Errors of ParseCrypto. A line that is not supported is passed over, the others of its section count (RFC 4568 §5.1.2).
var (
	ErrMalformed   = errors.New("not a crypto attribute")
	ErrUnsupported = errors.New("crypto attribute asks for what is not supported")
)

// Crypto is an a=crypto attribute with one key (RFC 4568 §9.1).
//
//	tag SP suite SP "inline:" base64(key || salt) ["|" lifetime] ["|" MKI ":" length] *(SP session-parameter)
type Crypto struct {
	Tag int
	Key Key
}

// String is the value of the attribute. It holds the key: for a session description only.
func (c Crypto) String() string {
	return strconv.Itoa(c.Tag) + " " + c.Key.sdes()
}

func (k Key) sdes() string {
	return k.Suite.String() + " inline:" + base64.StdEncoding.EncodeToString(append(append([]byte(nil), k.master...), k.salt...))
}

const (
	longestTag = 9   // digits
	longestMKI = 128 // octets (§6.1)
)

// ParseCrypto reads the value of an attribute. Errors do not contain the key.
func ParseCrypto(value string) (Crypto, error) {
	f := strings.Fields(value)
	if len(f) < 3 {
		return Crypto{}, fmt.Errorf("%w: %d fields", ErrMalformed, len(f))
	}
	tag, err := number(f[0], longestTag)
	if err != nil {
		return Crypto{}, fmt.Errorf("%w: tag", ErrMalformed)
	}
	suite, ok := SuiteNamed(f[1])
	if !ok {
		return Crypto{}, fmt.Errorf("%w: suite", ErrUnsupported)
	}
	key, err := parseKey(suite, f[2])
	if err != nil {
		return Crypto{}, err
	}
	for _, p := range f[3:] {
		if !harmless(p) {
			return Crypto{}, fmt.Errorf("%w: session parameter", ErrUnsupported)
		}
	}
	return Crypto{Tag: tag, Key: key}, nil
}

// harmless says which session parameters change nothing here: a window size that ours meets, no derivation rate, and
// what its writer calls optional (§6.3, §6.3.7). Those that weaken the protection are refused (RFC 4568 §7.2).
func harmless(p string) bool {
	name, v, _ := strings.Cut(p, "=")
	switch {
	case strings.HasPrefix(p, "-"):
		return true
	case strings.EqualFold(name, "WSH"):
		n, err := strconv.Atoi(v)
		return err == nil && n >= 64
	default:
		return false
	}
}

// parseKey reads key-params. More than one key needs an MKI to tell them apart, and is not supported.
func parseKey(suite Suite, params string) (Key, error) {
	rest, ok := strings.CutPrefix(params, "inline:")
	if !ok {
		return Key{}, fmt.Errorf("%w: key method", ErrMalformed)
	}
	if strings.Contains(rest, ";") {
		return Key{}, fmt.Errorf("%w: several keys", ErrUnsupported)
	}
	parts := strings.Split(rest, "|")
	raw, err := base64.StdEncoding.DecodeString(parts[0])
	if err != nil { // some phones leave the padding out
		raw, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[0], "="))
	}
	p := suite.parameters()
	if err != nil || len(raw) != p.key+p.salt {
		return Key{}, fmt.Errorf("%w: key", ErrMalformed)
	}
	k := Key{Suite: suite, master: raw[:p.key:p.key], salt: raw[p.key:]}
	parts = parts[1:]
	if len(parts) > 0 && !strings.Contains(parts[0], ":") {
		if !lifetime(parts[0]) {
			return Key{}, fmt.Errorf("%w: lifetime", ErrMalformed)
		}
		parts = parts[1:]
	}
	if len(parts) > 0 {
		if k.mki, err = mki(parts[0]); err != nil {
			return Key{}, err
		}
		parts = parts[1:]
	}
	if len(parts) > 0 {
		return Key{}, fmt.Errorf("%w: key parameters", ErrMalformed)
	}
	return k, nil
}

// lifetime checks "2^n" or a count of packets: its owner keeps it, and re-keys (§6.1). The most is 2^48.
func lifetime(s string) bool {
	if exponent, ok := strings.CutPrefix(s, "2^"); ok {
		n, err := number(exponent, 2)
		return err == nil && n >= 1 && n <= 48
	}
	_, err := number(s, 15)
	return err == nil
}

// mki reads "value:length".
func mki(s string) (length int, err error) {
	v, l, _ := strings.Cut(s, ":")
	if length, err = number(l, 3); err != nil || length < 1 || length > longestMKI {
		return 0, fmt.Errorf("%w: length of the MKI", ErrMalformed)
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%w: MKI", ErrMalformed)
		}
	}
	if v == "" {
		return 0, fmt.Errorf("%w: MKI", ErrMalformed)
	}
	return length, nil
}

// number reads a decimal number without sign and leading zeros, as the grammar has it.
func number(s string, most int) (int, error) {
	if s == "" || len(s) > most || s[0] == '0' && len(s) > 1 || s[0] == '+' || s[0] == '-' {
		return 0, ErrMalformed
	}
	return strconv.Atoi(s)
}
