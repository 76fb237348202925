// Package web serves the console and the room pages: the bundle of web/src, embedded in the binary.
//
// Files below /assets/ carry their content's hash in their name and are cached for ever; pages are revalidated each time.
// Every path of the console gets index.html, a room's path gets room.html, its chair's chair.html: the page reads its own address. Texts are sent
// compressed to whoever takes gzip: branches load them over their leased line.
// Security headers are added by web/session's Handler, which wraps this one like everything else on the HTTPS port.
//
//	mux.Handle("/", web.Pages())
//	mux.Handle("GET /ca.crt", web.Download("linehall-ca.crt", "application/x-x509-ca-cert", authority.RootPEM))
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

// Pages serves the bundle.
func Pages() http.Handler {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("web: " + err.Error()) // a constant, valid path cannot fail
	}
	return pages(sub)
}

type file struct {
	content   []byte
	zipped    []byte // nil when it would not be smaller
	mediaType string
	etag      string
	immutable bool
}

// site is the bundle in memory: a few hundred KiB, read once.
type site struct {
	files map[string]file // by path without the leading slash
}

func pages(bundle fs.FS) http.Handler {
	s := &site{files: map[string]file{}}
	err := fs.WalkDir(bundle, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		content, err := fs.ReadFile(bundle, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		s.files[name] = file{
			content: content, zipped: zip(content), mediaType: mediaType(name), etag: `"` + hex.EncodeToString(sum[:12]) + `"`,
			immutable: strings.HasPrefix(name, "assets/"),
		}
		return nil
	})
	if err != nil {
		panic("web: " + err.Error()) // reading what is compiled in cannot fail
	}
	return s
}

func zip(content []byte) []byte {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil
	}
	_, err = w.Write(content)
	if errors.Join(err, w.Close()) != nil || buf.Len() >= len(content)*9/10 {
		return nil
	}
	return buf.Bytes()
}

// takesGzip reads Accept-Encoding (RFC 9110 §12.5.3): "gzip" or "*" that is not refused by q=0.
func takesGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(part, ";")
		coding = strings.TrimSpace(coding)
		if coding != "gzip" && coding != "*" {
			continue
		}
		q, found := strings.CutPrefix(strings.TrimSpace(params), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !found || err == nil && weight > 0
	}
	return false
}

// mediaType does not ask the machine's mime tables: they differ.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".wasm":
		return "application/wasm"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	f, ok := s.find(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.mediaType)
	h.Set("ETag", f.etag)
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	content := f.content
	if f.zipped != nil {
		h.Set("Vary", "Accept-Encoding")
		if takesGzip(r.Header.Get("Accept-Encoding")) && r.Header.Get("Range") == "" {
			h.Set("Content-Encoding", "gzip")
			h.Set("ETag", strings.TrimSuffix(f.etag, `"`)+`-gz"`)
			content = f.zipped
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// find returns the file of a path, or the page that a path without a file belongs to. A path that looks like a file
// gets no page: a missing chunk must not come as HTML.
func (s *site) find(p string) (file, bool) {
	name := strings.TrimPrefix(path.Clean("/"+p), "/")
	if f, ok := s.files[name]; ok && name != "index.html" && name != "room.html" && name != "chair.html" {
		return f, true
	}
	if path.Ext(name) != "" || strings.HasPrefix(name+"/", "assets/") || strings.HasPrefix(name+"/", "api/") {
		return file{}, false
	}
	page := "index.html"
	switch {
	case strings.HasPrefix(name, "room/"):
		page = "room.html"
	case strings.HasPrefix(name, "chair/"):
		page = "chair.html"
	}
	f, ok := s.files[page]
	return f, ok
}

// Download serves a small text that may change while we run, as a file to save: the root certificates.
func Download(name, mediaType string, content func() []byte) http.Handler {
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": name})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Content-Disposition", disposition)
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content()))
	})
}
