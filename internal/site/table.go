package site

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
)

// Table is an immutable set of sites. A nil *Table is empty.
type Table struct {
	sites  []Site
	byID   map[ID]int
	main   ID
	routes []route // longest prefix first
}

type route struct {
	prefix netip.Prefix
	id     ID
}

// NewTable checks the sites and builds the table; the error joins every problem found. The same subnet may not belong
// to two sites; a longer subnet inside another site's shorter one is allowed, and wins.
func NewTable(sites []Site) (*Table, error) {
	t := &Table{byID: make(map[ID]int, len(sites))}
	var errs []error
	owner := map[netip.Prefix]ID{}
	for _, s := range sites {
		if err := s.validate(); err != nil {
			errs = append(errs, err)
			continue
		}
		if _, dup := t.byID[s.ID]; dup {
			errs = append(errs, fmt.Errorf("site %s is there twice", s.ID))
			continue
		}
		if s.Main {
			if t.main != "" {
				errs = append(errs, fmt.Errorf("site %s: %s is the main site already", s.ID, t.main))
			} else {
				t.main = s.ID
			}
		}
		s.Subnets = normal(s.Subnets)
		for _, p := range s.Subnets {
			if other, taken := owner[p]; taken {
				errs = append(errs, &OverlapError{Subnet: p, A: other, B: s.ID})
				continue
			}
			owner[p] = s.ID
			t.routes = append(t.routes, route{p, s.ID})
		}
		if s.Line != nil {
			line := *s.Line
			s.Line = &line
		}
		t.byID[s.ID] = len(t.sites)
		t.sites = append(t.sites, s)
	}
	if t.main == "" && len(sites) > 0 {
		errs = append(errs, errors.New("no site is the main one"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	slices.SortStableFunc(t.routes, func(a, b route) int { return b.prefix.Bits() - a.prefix.Bits() })
	return t, nil
}

func (s Site) validate() error {
	var errs []error
	if s.ID == "" {
		errs = append(errs, fmt.Errorf("site %q has no id", s.Name))
	}
	for _, p := range s.Subnets {
		if !p.IsValid() {
			errs = append(errs, fmt.Errorf("site %s: a subnet is not valid", s.ID))
		}
	}
	if l := s.Line; l != nil {
		if s.Main {
			errs = append(errs, fmt.Errorf("site %s: the main site has no line, every line ends there", s.ID))
		}
		if l.Up <= 0 || l.Down <= 0 {
			errs = append(errs, fmt.Errorf("site %s: a line needs a rate above zero in both directions", s.ID))
		}
		if l.OfficeReserve < 0 || l.OfficeReserve >= 1 {
			errs = append(errs, fmt.Errorf("site %s: office reserve %v is not at least 0 and below 1", s.ID, l.OfficeReserve))
		}
		if !l.Overhead.Valid() {
			errs = append(errs, fmt.Errorf("site %s: overhead %q: want %s, %s or %s", s.ID, l.Overhead, Ethernet, PPPoE, MPLS))
		}
	}
	return errors.Join(errs...)
}

// normal masks host bits, maps IPv4-in-IPv6 to IPv4 and drops repetitions.
func normal(prefixes []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		if p = p.Masked(); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// Locate returns the site of the longest subnet that holds addr.
func (t *Table) Locate(addr netip.Addr) (ID, bool) {
	if t == nil {
		return "", false
	}
	addr = addr.Unmap().WithZone("")
	for _, r := range t.routes { // a handful of subnets: a scan beats a trie
		if r.prefix.Contains(addr) {
			return r.id, true
		}
	}
	return "", false
}

// Site returns the site with that id. The caller must not write to its slices or its line.
func (t *Table) Site(id ID) (Site, bool) {
	if t == nil {
		return Site{}, false
	}
	i, ok := t.byID[id]
	if !ok {
		return Site{}, false
	}
	return t.sites[i], true
}

// Sites returns all sites in the order of the configuration; the slice is the caller's.
func (t *Table) Sites() []Site {
	if t == nil {
		return nil
	}
	return slices.Clone(t.sites)
}

// Main returns the id of headquarters, or "" in an empty table.
func (t *Table) Main() ID {
	if t == nil {
		return ""
	}
	return t.main
}

// Atlas holds the current table and is safe for concurrent use. Its zero value is empty.
type Atlas struct {
	table atomic.Pointer[Table]
}

// NewAtlas returns an atlas that holds table.
func NewAtlas(table *Table) *Atlas {
	a := &Atlas{}
	a.Store(table)
	return a
}

// Store puts table in place of the current one.
func (a *Atlas) Store(table *Table) { a.table.Store(table) }

// Table returns the current table; use one table for one decision.
func (a *Atlas) Table() *Table { return a.table.Load() }

// Locate asks the current table.
func (a *Atlas) Locate(addr netip.Addr) (ID, bool) { return a.Table().Locate(addr) }

// Site asks the current table.
func (a *Atlas) Site(id ID) (Site, bool) { return a.Table().Site(id) }

// Sites asks the current table.
func (a *Atlas) Sites() []Site { return a.Table().Sites() }

// Main asks the current table.
func (a *Atlas) Main() ID { return a.Table().Main() }
