package trunk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"linehall/sip/stack"
)

// DNS is what RFC 3263 asks of a resolver; see systemDNS.
type DNS interface {
	// NAPTR, SRV and Addresses return no records and no error when the name has none.
	NAPTR(ctx context.Context, name string) ([]NAPTR, error)
	SRV(ctx context.Context, name string) ([]SRV, error)
	Addresses(ctx context.Context, host string) ([]netip.Addr, error)
}

// NAPTR is a record of RFC 3403 §4.1.
type NAPTR struct {
	Order, Preference    uint16
	Flags, Service, Into string
}

// SRV is a record of RFC 2782.
type SRV struct {
	Priority, Weight, Port uint16
	Target                 string
}

// target is where a request can be sent.
type target struct {
	transport string // as in stack.Flow
	addr      netip.AddrPort
	host      string // the name whose certificate counts (RFC 5922 §4: the domain, not what DNS made of it)
}

func (t target) String() string { return strings.ToLower(t.transport) + ":" + t.addr.String() }

// Bounds of the resolver. net.Resolver does not tell a record's life: minutes are short enough for a
// provider's move and long enough to spare its name servers.
const (
	answerLife   = 2 * time.Minute
	failureLife  = 15 * time.Second
	staleLife    = 24 * time.Hour // an old answer is better than none while DNS is away
	lookupTime   = 5 * time.Second
	mostNames    = 256 // remembered; the configuration names them
	mostRecords  = 16  // of one answer; more is a mistake or an attack
	mostTargets  = 16  // of one gateway
	naptrFlagSRV = "s"
)

var errNoTarget = errors.New("the name leads to no address")

// resolver turns a gateway into targets by RFC 3263 §4 and remembers the answers.
type resolver struct {
	dns   DNS
	now   func() time.Time
	mu    sync.Mutex // guards known
	known map[string]answer
}

type answer struct {
	until, stale time.Time
	naptr        []NAPTR
	srv          []SRV
	addrs        []netip.Addr
	err          error // nobody knew; not asked again for a while
}

func newResolver(dns DNS) *resolver {
	return &resolver{dns: dns, now: time.Now, known: map[string]answer{}}
}

// transports maps the words of the configuration to those of the stack.
func transportOf(word string) string {
	switch word {
	case "tcp":
		return stack.TCP
	case "tls":
		return stack.TLS
	case "udp":
		return stack.UDP
	}
	return ""
}

func defaultPort(transport string) uint16 {
	if transport == stack.TLS {
		return 5061
	}
	return 5060
}

// targets lists where requests for the gateway may go, in the order in which to try them; SRV
// records of one priority come in another order each time (RFC 2782 page 3).
func (r *resolver) targets(ctx context.Context, g GatewayConfig) ([]target, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	transport := transportOf(g.Transport)
	if g.Address != "" {
		ap, err := parseAddress(g.Address)
		if err != nil {
			return nil, err
		}
		if transport == "" {
			transport = stack.UDP
		}
		if ap.Port() == 0 {
			ap = netip.AddrPortFrom(ap.Addr(), defaultPort(transport))
		}
		return []target{{transport, ap, ap.Addr().String()}}, nil
	}
	host, port, err := splitPort(g.Domain)
	if err != nil {
		return nil, err
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if port != 0 { // RFC 3263 §4.2: an explicit port means addresses only
		return r.plain(ctx, host, host, cmp.Or(transport, stack.UDP), port)
	}
	services, err := r.services(ctx, host, transport)
	if err != nil {
		return nil, err
	}
	found, err := r.located(ctx, host, services)
	if len(found) > 0 {
		return found[:min(len(found), mostTargets)], nil
	}
	transport = cmp.Or(transport, stack.UDP)
	plain, plainErr := r.plain(ctx, host, host, transport, defaultPort(transport))
	if plainErr != nil {
		return nil, errors.Join(err, plainErr)
	}
	return plain, nil
}

// service is an SRV name and the transport that it stands for.
type service struct{ transport, name string }

// services asks NAPTR which SRV names count, in order (RFC 3263 §4.1). With a configured transport,
// or without NAPTR records, they are formed from the name.
func (r *resolver) services(ctx context.Context, host, transport string) ([]service, error) {
	formed := []service{{stack.UDP, "_sip._udp." + host}, {stack.TCP, "_sip._tcp." + host}, {stack.TLS, "_sips._tcp." + host}}
	if transport != "" {
		return slices.DeleteFunc(formed, func(s service) bool { return s.transport != transport }), nil
	}
	got, err := r.ask(ctx, "naptr "+host, func(ctx context.Context, a *answer) (err error) {
		a.naptr, err = r.dns.NAPTR(ctx, host)
		return err
	})
	if err != nil && len(got.naptr) == 0 {
		return formed, nil //nolint:nilerr // a resolver that knows no NAPTR is common; SRV may still answer
	}
	records := slices.Clone(got.naptr)
	slices.SortStableFunc(records, func(a, b NAPTR) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Preference, b.Preference))
	})
	var services []service
	for _, n := range records {
		t := map[string]string{"SIP+D2U": stack.UDP, "SIP+D2T": stack.TCP, "SIPS+D2T": stack.TLS}[strings.ToUpper(n.Service)]
		if t != "" && strings.EqualFold(n.Flags, naptrFlagSRV) && n.Into != "" && len(services) < mostRecords {
			services = append(services, service{t, strings.ToLower(strings.TrimSuffix(n.Into, "."))})
		}
	}
	if len(services) == 0 {
		return formed, nil
	}
	return services, nil
}

// located follows SRV names to addresses. The first transport that has records is used.
func (r *resolver) located(ctx context.Context, host string, services []service) ([]target, error) {
	var failed error
	for _, s := range services {
		got, err := r.ask(ctx, "srv "+s.name, func(ctx context.Context, a *answer) (err error) {
			a.srv, err = r.dns.SRV(ctx, s.name)
			return err
		})
		if err != nil {
			failed = errors.Join(failed, err)
		}
		var found []target
		for _, record := range shuffled(got.srv) {
			name := strings.ToLower(strings.TrimSuffix(record.Target, "."))
			if name == "" || record.Port == 0 { // "." says that the service is not there (RFC 2782)
				continue
			}
			addrs, err := r.plain(ctx, name, host, s.transport, record.Port)
			if err != nil {
				failed = errors.Join(failed, err)
			}
			found = append(found, addrs...)
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, failed
}

// plain looks up addresses; domain is the name whose certificate counts.
func (r *resolver) plain(ctx context.Context, host, domain, transport string, port uint16) ([]target, error) {
	got, err := r.ask(ctx, "addr "+host, func(ctx context.Context, a *answer) (err error) {
		a.addrs, err = r.dns.Addresses(ctx, host)
		return err
	})
	var found []target
	for _, addr := range got.addrs {
		if addr = addr.Unmap(); addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() {
			found = append(found, target{transport, netip.AddrPortFrom(addr, port), domain})
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %w", host, cmp.Or(err, errNoTarget))
	}
	return found[:min(len(found), mostTargets)], nil
}

// ask answers from memory while the answer is fresh; when DNS fails, an old answer is used on.
func (r *resolver) ask(ctx context.Context, key string, query func(context.Context, *answer) error) (answer, error) {
	r.mu.Lock()
	kept, known := r.known[key]
	r.mu.Unlock()
	now := r.now()
	if known && now.Before(kept.until) {
		return kept, kept.err
	}
	var fresh answer
	err := query(ctx, &fresh)
	fresh.naptr, fresh.srv, fresh.addrs = bound(fresh.naptr), bound(fresh.srv), bound(fresh.addrs)
	switch {
	case err == nil:
		fresh.until, fresh.stale = now.Add(answerLife), now.Add(staleLife)
	case known && now.Before(kept.stale):
		kept.until = now.Add(failureLife)
		fresh, err = kept, kept.err
	default:
		fresh = answer{until: now.Add(failureLife), err: err}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.known[key]; !there && len(r.known) >= mostNames {
		clear(r.known) // names of configurations that are gone; the others are asked again
	}
	r.known[key] = fresh
	return fresh, err
}

func bound[T any](records []T) []T { return records[:min(len(records), mostRecords)] }

// shuffled orders SRV records by priority, within one by weighted chance (RFC 2782 page 3).
func shuffled(records []SRV) []SRV {
	left := slices.Clone(records)
	slices.SortStableFunc(left, func(a, b SRV) int { return cmp.Compare(a.Priority, b.Priority) })
	ordered := make([]SRV, 0, len(left))
	for len(left) > 0 {
		same := slices.IndexFunc(left, func(s SRV) bool { return s.Priority != left[0].Priority })
		if same < 0 {
			same = len(left)
		}
		i := drawn(left[:same], func(s SRV) int { return int(s.Weight) })
		ordered = append(ordered, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return ordered
}

// drawn picks an index by weighted chance; a weight of 0 has a small chance while others have none.
func drawn[T any](list []T, weight func(T) int) int {
	total := 0
	for _, e := range list {
		total += weight(e)*1000 + 1
	}
	at := rand.IntN(total) //nolint:gosec // sharing of load, no secret
	for i, e := range list {
		if at -= weight(e)*1000 + 1; at < 0 {
			return i
		}
	}
	return len(list) - 1
}
