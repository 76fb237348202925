package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ServerOptions are the parts of a metrics server.
type ServerOptions struct {
	Address  string // host:port, 127.0.0.1:9464 by contract; empty = Run only waits
	Gatherer prometheus.Gatherer
	Health   *Health
	Log      *slog.Logger
}

// Server serves /metrics (with OpenMetrics when asked for, so that exemplars show), /healthz and /readyz.
type Server struct {
	opts    ServerOptions
	handler http.Handler
	bound   chan struct{}
	addr    net.Addr // valid once bound is closed
}

// NewServer returns a server that Run starts.
func NewServer(opts ServerOptions) *Server {
	mux := http.NewServeMux()
	health := opts.Health.Handler()
	mux.Handle("GET /healthz", health)
	mux.Handle("GET /readyz", health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(opts.Gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: 4,
		ErrorLog:            slog.NewLogLogger(opts.Log.Handler(), slog.LevelWarn),
	}))
	return &Server{opts: opts, handler: mux, bound: make(chan struct{})}
}

// Handler is what Run serves.
func (s *Server) Handler() http.Handler { return s.handler }

// Addr waits until Run has bound its socket and returns the address, or nil when ctx ends first.
func (s *Server) Addr(ctx context.Context) net.Addr {
	select {
	case <-s.bound:
		return s.addr
	case <-ctx.Done():
		return nil
	}
}

// Run serves until ctx ends, then lets running scrapes finish for a second. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.opts.Address == "" {
		<-ctx.Done()
		return nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.opts.Address)
	if err != nil {
		return fmt.Errorf("metrics listener: %w", err)
	}
	s.addr = ln.Addr()
	close(s.bound)

	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("metrics server: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		err = errors.Join(err, srv.Close())
		s.opts.Log.Debug("metrics server cut off", slog.Any(Err, err))
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics server: %w", err)
	}
	return nil
}
