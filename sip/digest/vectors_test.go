package digest

import "testing"

// TestVectors are the examples of RFC 7616 §3.9.1, RFC 2617 §3.5 and, without
// qop, RFC 2069 §2.4 with its erratum 749.
func TestVectors(t *testing.T) {
	const http = "http-auth@example.org"
	newer := credentials{
		username: "Mufasa", realm: http, uri: "/dir/index.html", qop: "auth", ncText: "00000001",
		nonce:  "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
		cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
	}
	older := credentials{
		username: "Mufasa", realm: "testrealm@host.com", uri: "/dir/index.html", qop: "auth", ncText: "00000001",
		nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", cnonce: "0a4f113b",
	}
	oldest := older
	oldest.qop = ""
	for _, v := range []struct {
		name, algorithm, password, want string
		c                               credentials
	}{
		{"RFC 7616 MD5", "MD5", "Circle of Life", "8ca523f5e9506fed4657c9700eebdbec", newer},
		{"RFC 7616 SHA-256", "SHA-256", "Circle of Life", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", newer},
		{"RFC 2617 MD5", "MD5", "Circle Of Life", "6629fae49393a05397450978507c4ef1", older},
		{"RFC 2069", "MD5", "CircleOfLife", "1949323746fe6a43ef61f9606e7febea", oldest},
	} {
		if got := v.c.expected(v.algorithm, v.password, "GET"); got != v.want {
			t.Errorf("%s: %s, want %s", v.name, got, v.want)
		}
	}
}
