package trunk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

// Options are the parts of a Service.
type Options struct {
	Stack *stack.Stack
	DNS   DNS // nil = SystemDNS
	// Active counts the calls of a trunk, or of one of its gateways when that is not "". nil counts none.
	Active func(trunk, gateway string) int
	// Panics counts recovered panics; may be nil.
	Panics     prometheus.Counter
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Service is the set of trunks.
type Service struct {
	o       Options
	log     *slog.Logger
	resolve *resolver

	mu        sync.RWMutex // guards the fields below
	trunks    []*trunk     // in the order of the configuration
	numbering dialplan.NumberingConfig
	ctx       context.Context //nolint:containedctx // that of Run, for keepers that Apply starts
	keepers   sync.WaitGroup
}

// trunk is one trunk as configured, with its gateways. It is replaced, not changed.
type trunk struct {
	cfg      Config
	gateways []*gateway
	roots    *x509.CertPool // nil = the system's
}

// New returns a service without trunks.
func New(o Options) (*Service, error) {
	if o.Stack == nil {
		return nil, errors.New("trunk: a stack is needed")
	}
	if o.DNS == nil {
		o.DNS = SystemDNS()
	}
	if o.Active == nil {
		o.Active = func(string, string) int { return 0 }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{o: o, log: o.Log, resolve: newResolver(o.DNS), numbering: dialplan.DefaultNumbering()}
	if o.Registerer != nil {
		o.Registerer.MustRegister(collector{s})
	}
	return s, nil
}

// Prepared is a checked set of trunks; see Prepare.
type Prepared struct {
	trunks    []*trunk
	numbering dialplan.NumberingConfig
}

// Prepare does of Apply what can fail: it reads the files of certificates.
func (s *Service) Prepare(configs []Config, numbering dialplan.NumberingConfig) (*Prepared, error) {
	p := &Prepared{numbering: numbering}
	for _, cfg := range configs {
		t := &trunk{cfg: cfg}
		if cfg.CAFile != "" {
			pem, err := os.ReadFile(cfg.CAFile)
			if err != nil {
				return nil, fmt.Errorf("trunk %s: %w", cfg.Name, err)
			}
			if t.roots = x509.NewCertPool(); !t.roots.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("trunk %s: no certificate in %s", cfg.Name, cfg.CAFile)
			}
		}
		p.trunks = append(p.trunks, t)
	}
	return p, nil
}

// Install puts the set in place. Gateways that stay as they are keep their keeper and their state;
// those that are gone deregister. Calls are not touched.
func (s *Service) Install(p *Prepared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gone []*gateway
	for _, t := range s.trunks {
		gone = append(gone, t.gateways...)
	}
	for _, t := range p.trunks {
		old := s.same(t)
		for i, cfg := range t.cfg.Gateways {
			if old != nil && reflect.DeepEqual(old.cfg.Gateways[i], cfg) {
				kept := old.gateways[i]
				gone = slices.DeleteFunc(gone, func(g *gateway) bool { return g == kept })
				t.gateways = append(t.gateways, kept)
				continue
			}
			g := newGateway(s, t, cfg)
			t.gateways = append(t.gateways, g)
			s.keepLocked(g) //nolint:contextcheck // a keeper lives with the service
		}
	}
	for _, g := range gone {
		g.stop()
	}
	s.trunks, s.numbering = p.trunks, p.numbering
}

// Apply is Prepare and Install.
func (s *Service) Apply(configs []Config, numbering dialplan.NumberingConfig) error {
	p, err := s.Prepare(configs, numbering)
	if err != nil {
		return err
	}
	s.Install(p)
	return nil
}

// same finds the trunk of that name when all that its keepers use is unchanged.
func (s *Service) same(t *trunk) *trunk {
	for _, old := range s.trunks {
		a, b := old.cfg, t.cfg
		if a.Name == b.Name && a.Domain == b.Domain && a.Auth == b.Auth && a.Register == b.Register && a.Expires == b.Expires &&
			a.Probe == b.Probe && a.CAFile == b.CAFile && len(a.Gateways) == len(b.Gateways) &&
			(old.roots == nil) == (t.roots == nil) && (old.roots == nil || old.roots.Equal(t.roots)) {
			return old
		}
	}
	return nil
}

// keepLocked starts the keeper of a gateway, if the service runs.
func (s *Service) keepLocked(g *gateway) {
	if s.ctx == nil || s.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	g.cancel = cancel
	s.keepers.Go(func() {
		for s.guard(func() { g.keep(ctx) }); ctx.Err() == nil && pause(ctx, afterPanic); {
			s.guard(func() { g.keep(ctx) })
		}
	})
}

// readyPause is how often a stack that starts is looked at.
const readyPause = 20 * time.Millisecond

// afterPanic is how long a keeper rests before it begins anew.
const afterPanic = 5 * time.Second

// guard recovers a keeper: a panic about one gateway must not end the exchange.
func (s *Service) guard(f func()) {
	defer observe.Recover(s.log, s.o.Panics, "trunk keeper")
	f()
}

// Run keeps the gateways until ctx ends; it returns after every keeper has deregistered and ended.
func (s *Service) Run(ctx context.Context) error {
	for s.o.Stack.Ready() != nil { // it starts beside us
		if !pause(ctx, readyPause) {
			return ctx.Err()
		}
	}
	s.mu.Lock()
	s.ctx = ctx
	for _, t := range s.trunks {
		for _, g := range t.gateways {
			s.keepLocked(g) //nolint:contextcheck // a keeper lives with the service
		}
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.keepers.Wait()
	return ctx.Err()
}

// FlowClosed tells that a connection ended: registrations over it are made anew.
func (s *Service) FlowClosed(f stack.Flow) {
	for _, t := range s.list() {
		for _, g := range t.gateways {
			g.lost(f)
		}
	}
}

func (s *Service) list() []*trunk {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.trunks
}

func (s *Service) plan() dialplan.NumberingConfig {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.numbering
}

func (s *Service) find(name string) *trunk {
	for _, t := range s.list() {
		if t.cfg.Name == name {
			return t
		}
	}
	return nil
}

// connect returns the flow to a target, opening a connection where the transport has them.
func (s *Service) connect(ctx context.Context, roots *x509.CertPool, to target) (stack.Flow, error) {
	switch to.transport {
	case stack.TCP:
		return s.o.Stack.Dial(ctx, stack.TCP, to.addr) //nolint:wrapcheck // says what was dialled
	case stack.TLS:
		return s.o.Stack.DialTLS(ctx, to.addr, &tls.Config{ServerName: to.host, RootCAs: roots, MinVersion: tls.VersionTLS12}) //nolint:wrapcheck // says what was dialled
	}
	return s.o.Stack.Datagram(ctx, to.addr) //nolint:wrapcheck // says what was dialled
}

// ask sends a request of ours and waits for its final response.
func (s *Service) ask(ctx context.Context, req *sip.Request, flow stack.Flow) (*sip.Response, error) {
	tx, err := s.o.Stack.Request(ctx, req, flow)
	if err != nil {
		return nil, err //nolint:wrapcheck // says method and flow
	}
	defer tx.Terminate()
	for res := range tx.Responses() {
		if !res.IsProvisional() {
			return res, nil
		}
	}
	if err := tx.Err(); err != nil {
		return nil, err //nolint:wrapcheck // one of the stack's sentinels
	}
	return nil, stack.ErrTimeout
}

// pause waits, or returns false when ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
