package digest

import (
	"errors"
	"strings"
	"testing"
)

// The examples of RFC 7616 §3.9.1, RFC 2617 §3.5 and RFC 2069 §2.4 (erratum 749), from the other
// end: we answer the challenge.
func TestAnswerVectors(t *testing.T) {
	t.Parallel()
	const (
		newer = `realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
		older = `realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`
	)
	for _, v := range []struct{ name, header, password, cnonce, want string }{
		{"RFC 7616 MD5", "Digest algorithm=MD5, " + newer, "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "8ca523f5e9506fed4657c9700eebdbec"},
		{"RFC 7616 SHA-256", "Digest algorithm=SHA-256, " + newer, "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{"RFC 2617 MD5", `Digest qop="auth,auth-int", ` + older, "Circle Of Life", "0a4f113b", "6629fae49393a05397450978507c4ef1"},
		{"RFC 2069", "Digest " + older, "CircleOfLife", "", "1949323746fe6a43ef61f9606e7febea"},
	} {
		got, err := answer(v.header, "GET", "/dir/index.html", "Mufasa", v.password, nil, v.cnonce)
		if err != nil || !strings.Contains(got, `response="`+v.want+`"`) {
			t.Errorf("%s: %s, %v; want %s", v.name, got, err, v.want)
		}
		if !strings.Contains(got, "opaque=") {
			t.Errorf("%s: the opaque value is not returned: %s", v.name, got)
		}
		c, ok := parseCredentials(got)
		if !ok || c.username != "Mufasa" {
			t.Errorf("%s: our own server cannot read %s", v.name, got)
		}
	}
}

func TestAnswerRefuses(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		header string
		want   error
	}{
		"another scheme":     {"Basic realm=\"x\"", ErrChallenge},
		"no nonce":           {`Digest realm="x", qop="auth"`, ErrChallenge},
		"damaged":            {`Digest realm="x, nonce="y`, ErrChallenge},
		"twice":              {`Digest realm="x", nonce="a", nonce="b"`, ErrChallenge},
		"too long":           {`Digest realm="x", nonce="` + strings.Repeat("a", maxCredentials) + `"`, ErrChallenge},
		"line break":         {"Digest realm=\"x\r\nEvil: 1\", nonce=\"a\"", ErrChallenge},
		"unknown algorithm":  {`Digest realm="x", nonce="a", algorithm=SHA-512-256`, ErrAlgorithm},
		"unknown protection": {`Digest realm="x", nonce="a", qop="auth-conf"`, ErrAlgorithm},
	} {
		if got, err := Answer(v.header, "INVITE", "sip:1@example.org", "u", "p", nil); !errors.Is(err, v.want) {
			t.Errorf("%s: %q, %v; want %v", name, got, err, v.want)
		}
	}
	if _, err := Answer(`Digest realm="x", nonce="a"`, "INVITE", "sip:\"@example.org", "u", "p", nil); err == nil {
		t.Error("a URI with a quote was signed")
	}
}

func TestAnswerQualities(t *testing.T) {
	t.Parallel()
	body := []byte("v=0\r\n")
	got, err := answer(`Digest realm="r", nonce="n", qop="auth-int", algorithm=MD5`, "INVITE", "sip:1@h", "u", "p", body, "c")
	want := hashMD5(hashMD5("u:r:p") + ":n:00000001:c:auth-int:" + hashMD5("INVITE:sip:1@h:"+hashMD5(string(body))))
	if err != nil || !strings.Contains(got, want) || !strings.Contains(got, "qop=auth-int") {
		t.Errorf("auth-int: %s, %v", got, err)
	}
	got, err = answer(`Digest realm="r", nonce="n", qop=auth, algorithm=SHA-256-sess`, "INVITE", "sip:1@h", `u"x`, "p", nil, "c")
	ha1 := hashSHA256(hashSHA256(`u"x:r:p`) + ":n:c")
	if err != nil || !strings.Contains(got, hashSHA256(ha1+":n:00000001:c:auth:"+hashSHA256("INVITE:sip:1@h"))) || !strings.Contains(got, `username="u\"x"`) {
		t.Errorf("SHA-256-sess: %s, %v", got, err)
	}
	if !Stale(`Digest realm="r", nonce="n", stale=TRUE`) || Stale(`Digest realm="r", nonce="n"`) || Stale("") {
		t.Error("stale is misread")
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(`Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o", stale=false`)
	f.Add(`Digest realm="a\"b", nonce=n`)
	f.Fuzz(func(t *testing.T, header string) {
		got, err := Answer(header, "INVITE", "sip:1@h", "u", "p", nil)
		if err != nil {
			return
		}
		if strings.ContainsAny(got, "\r\n") {
			t.Fatalf("%q breaks the line", got)
		}
		if c, ok := parseCredentials(got); !ok || c.uri != "sip:1@h" {
			t.Fatalf("%q cannot be read back", got)
		}
	})
}
