package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func bundle() http.Handler {
	return pages(fstest.MapFS{
		"index.html":           {Data: []byte("console")},
		"room.html":            {Data: []byte("room page")},
		"chair.html":           {Data: []byte("chair page")},
		"favicon.svg":          {Data: []byte("<svg/>")},
		"assets/console-AB.js": {Data: []byte(strings.Repeat("console.log(1);", 200))},
		".gitkeep":             {},
	})
}

func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryPathGetsItsPage(t *testing.T) {
	for path, want := range map[string]struct {
		status int
		body   string
		cache  string
	}{
		"/":                       {200, "console", "no-cache"},
		"/terminals":              {200, "console", "no-cache"},
		"/login?next=%2Fcalls":    {200, "console", "no-cache"},
		"/index.html":             {404, "", ""},
		"/chair.html":             {404, "", ""},
		"/room/9000":              {200, "room page", "no-cache"},
		"/room/9000?video=320x18": {200, "room page", "no-cache"},
		"/chair/9000":             {200, "chair page", "no-cache"},
		"/favicon.svg":            {200, "<svg/>", "no-cache"},
		"/assets/console-AB.js":   {200, "console.log", "public, max-age=31536000, immutable"},
		"/assets/console-OLD.js":  {404, "", ""},
		"/assets/":                {404, "", ""},
		"/api/v1/nothing":         {404, "", ""},
		"/.gitkeep":               {404, "", ""},
		"/../../etc/passwd":       {200, "console", "no-cache"},
		"/robots.txt":             {404, "", ""},
	} {
		res := get(t, bundle(), path)
		body := text(t, res)
		if res.StatusCode != want.status || want.status == 200 && (!strings.HasPrefix(body, want.body) || res.Header.Get("Cache-Control") != want.cache) {
			t.Errorf("%s: %d %.20q %q", path, res.StatusCode, body, res.Header.Get("Cache-Control"))
		}
	}
}

func TestTextsAreCompressedAndRevalidated(t *testing.T) {
	const path = "/assets/console-AB.js"
	plain := get(t, bundle(), path)
	res := get(t, bundle(), path, "Accept-Encoding", "br, gzip;q=0.8")
	if res.Header.Get("Content-Encoding") != "gzip" || res.Header.Get("ETag") == plain.Header.Get("ETag") {
		t.Fatalf("headers %v", res.Header)
	}
	z, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := io.ReadAll(z)
	if err != nil || string(unzipped) != text(t, plain) {
		t.Errorf("%d bytes, %v", len(unzipped), err)
	}
	if again := get(t, bundle(), path, "Accept-Encoding", "gzip", "If-None-Match", res.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("revalidation: %d", again.StatusCode)
	}
	for _, none := range []string{"", "br", "gzip;q=0", "identity"} {
		if res := get(t, bundle(), path, "Accept-Encoding", none); res.Header.Get("Content-Encoding") != "" {
			t.Errorf("compressed for %q", none)
		}
	}
}

func TestOnlyReading(t *testing.T) {
	w := httptest.NewRecorder()
	bundle().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("%d", w.Code)
	}
}

// What is compiled in must hold together: pages name files that are there, and hold nothing that our policy forbids.
func TestTheEmbeddedBundleHoldsTogether(t *testing.T) {
	h := Pages()
	for _, page := range []string{"/", "/room/9000"} {
		res := get(t, h, page)
		body := text(t, res)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, "<html") {
			t.Errorf("%s: %d %.60q", page, res.StatusCode, body)
			continue
		}
		for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(body, -1) {
			if res := get(t, h, m[1]); res.StatusCode != http.StatusOK {
				t.Errorf("%s names %s: %d", page, m[1], res.StatusCode)
			}
		}
		for _, inline := range []string{`<script>`, `<style`, ` style="`, ` onclick="`, ` onload="`} {
			if strings.Contains(body, inline) {
				t.Errorf("%s has inline %s", page, inline)
			}
		}
	}
}

func TestDownload(t *testing.T) {
	content := []byte("certificate")
	h := Download("linehall-ca.crt", "application/x-x509-ca-cert", func() []byte { return content })
	res := get(t, h, "/ca.crt")
	if text(t, res) != "certificate" || res.Header.Get("Content-Disposition") != "attachment; filename=linehall-ca.crt" {
		t.Errorf("%v", res.Header)
	}
}
