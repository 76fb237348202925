package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"linehall/internal/observe"
	"linehall/provisioning/phone"
)

const (
	// tokenFolder is the folder of tokens: /prov/t/TOKEN/MAC.cfg.
	tokenFolder = "t"
	maxPath     = 256
	maxBody     = 1024 // of a GET: phones send none
	maxName     = 64
	// maxConns and the times below are for the plain listener; the HTTPS one
	// is the console's.
	maxConns      = 512
	headerTimeout = 5 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 30 * time.Second
	maxHeader     = 8 << 10
	drainTimeout  = 3 * time.Second
)

// Bootstrap answers phones over plain HTTP, never with a secret.
func (s *Server) Bootstrap() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serveHTTP(w, r, false) })
}

// Secure answers phones under /prov/ over HTTPS. A request that did not come
// by TLS is treated as a plain one.
func (s *Server) Secure() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serveHTTP(w, r, r.TLS != nil) })
}

// Run serves the bootstrap on the listener until ctx ends, and returns after
// every request has ended.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.Bootstrap(), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(netutil.LimitListener(listener, maxConns)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("provisioning: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := server.Shutdown(drain)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if closed := <-ended; !errors.Is(closed, http.ErrServerClosed) {
		err = errors.Join(err, closed)
	}
	return err
}

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request, secure bool) {
	a, ok := parseRequest(r, secure)
	if result := s.admit(r, a, ok); result != "" {
		s.refuse(w, a, answer{result: result, brand: phone.Detect(a.agent, "").Brand})
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-r.Context().Done():
		return
	}
	result := s.answer(r.Context(), a)
	if result.content == nil {
		s.refuse(w, a, result)
		return
	}
	s.requests.WithLabelValues(result.brand, result.result).Inc()
	s.log(a, result)
	s.noteRefusal(a, result)
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	if bytes.HasPrefix(result.content, []byte("<?xml")) {
		header.Set("Content-Type", "application/xml; charset=utf-8")
	}
	if result.binary {
		header.Set("Content-Type", "application/x-x509-ca-cert")
	}
	header.Set("Content-Length", strconv.Itoa(len(result.content)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(result.content); err != nil {
		return // the phone went away; it asks again
	}
	if result.result == resultFull {
		s.delivered(context.WithoutCancel(r.Context()), a, result)
	}
}

// admit names the reason to refuse before anything is looked up, "" for none.
func (s *Server) admit(r *http.Request, a ask, parsed bool) string {
	switch {
	case !s.limiter.allow(a.remote):
		return resultRate
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return resultMethod
	case len(r.URL.Path) > maxPath || r.ContentLength > maxBody:
		return resultSize
	case !parsed:
		return resultNone
	}
	return ""
}

// refuse answers so that all refusals of files look the same.
func (s *Server) refuse(w http.ResponseWriter, a ask, result answer) {
	s.requests.WithLabelValues(result.brand, result.result).Inc()
	s.log(a, result)
	s.noteRefusal(a, result)
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	status := http.StatusNotFound
	switch result.result {
	case resultRate:
		s.Dropped.Count("provisioning", resultRate)
		header.Set("Retry-After", "30")
		status = http.StatusTooManyRequests
	case resultMethod:
		header.Set("Allow", "GET, HEAD")
		status = http.StatusMethodNotAllowed
	case resultSize:
		s.Dropped.Count("provisioning", resultSize)
	}
	http.Error(w, strings.ToLower(http.StatusText(status)), status)
}

// log says what happened to whom; the token in the path is masked.
func (s *Server) log(a ask, result answer) {
	log := s.Log.With(observe.File, a.name, observe.Remote, a.remote.String(), observe.Brand, result.brand, "token", mask(a.token))
	switch result.result {
	case resultFull:
		log.Info("phone configuration with password served")
	case resultToken:
		log.Warn("phone asked with a wrong token or from another site")
	default:
		log.Debug("phone asked", "result", result.result)
	}
}

// mask keeps enough of a token to tell two apart.
func mask(token string) string {
	if len(token) <= 8 {
		return strings.Repeat("*", len(token))
	}
	return token[:4] + "***"
}

// parseRequest reads MAC.cfg, prov/MAC.cfg and prov/t/TOKEN/MAC.cfg. Nothing
// else has more than one part, so there is nothing to climb.
func parseRequest(r *http.Request, secure bool) (ask, bool) {
	a := ask{secure: secure, http: true, remote: addrOf(r.RemoteAddr), agent: r.UserAgent()}
	if own, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		a.local = addrOf(own.String())
	}
	path, under := strings.CutPrefix(r.URL.Path, prefix)
	if !under {
		path = strings.TrimPrefix(path, "/")
	}
	if rest, ok := strings.CutPrefix(path, tokenFolder+"/"); ok {
		token, name, ok := strings.Cut(rest, "/")
		if !ok || !plain(token) {
			return a, false
		}
		a.token, path = token, name
	}
	a.name = path
	if !plain(path) {
		a.name = "" // it goes into logs
		return a, false
	}
	return a, true
}

// plain reports whether a part of a path is a name of ours.
func plain(name string) bool {
	return name != "" && len(name) <= maxName &&
		strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789._-") == "" && strings.Trim(name, ".") != ""
}

func addrOf(hostPort string) netip.Addr {
	addr, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap()
}
