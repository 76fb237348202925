// Package site knows the places of the organisation: headquarters, its branches, their subnets and leased lines, and
// which place an address belongs to.
//
// A device's site is that of the longest matching subnet of its source address; if none matches, the caller falls back
// to the configured site. A Table is immutable; an Atlas holds the current one, so that a reload swaps everything at
// once and readers never lock. The package keeps no rates in use: that is media/line.
//
//	table, err := site.NewTable(sites)
//	atlas := site.NewAtlas(table)
//	id, ok := atlas.Locate(netip.MustParseAddr("127.0.1.20")) // "branch1", true
package site

import (
	"fmt"
	"net/netip"
	"time"
)

// ID names a site in configuration, metrics and JSON: short, lower case, stable.
type ID string

// Overhead is what a line adds to every IP packet; see Bytes.
type Overhead string

// The overheads that lines can have.
const (
	Ethernet Overhead = "ethernet"
	PPPoE    Overhead = "pppoe"
	MPLS     Overhead = "mpls"
)

// Bytes returns the bytes per packet that the line carries beyond the IP packet. An empty Overhead is Ethernet.
//
// Ethernet: 14 header + 4 FCS (IEEE 802.3). PPPoE adds 6 + 2 (RFC 2516), MPLS one label of 4 (RFC 3032). Preamble and
// gap are no part of it: a leased line's rate is shaped and policed on frames.
func (o Overhead) Bytes() int {
	const ethernet = 14 + 4
	switch o {
	case PPPoE:
		return ethernet + 8
	case MPLS:
		return ethernet + 4
	case Ethernet:
		return ethernet
	default:
		return ethernet
	}
}

// Valid reports whether o is one of the known overheads or empty.
func (o Overhead) Valid() bool {
	return o == "" || o == Ethernet || o == PPPoE || o == MPLS
}

// SRTP is a policy for the media of a place's calls.
type SRTP string

// The policies.
const (
	SRTPOff      SRTP = "off"      // as the phones like
	SRTPOffered  SRTP = "offered"  // as the phones like, but what was encrypted stays so
	SRTPRequired SRTP = "required" // nothing in clear, nor the keys
)

// Line is a leased line, seen from the branch: up is what the branch sends.
type Line struct {
	Up, Down      int64 // bit/s on the wire
	Overhead      Overhead
	OfficeReserve float64 // share of each direction, 0..1, that is never given to voice or video
	// ConferenceFloor is the share of each direction that calls leave to the voices of meetings; nil: line.FloorRate.
	ConferenceFloor *float64
	CallsMax        int  // calls at the same time; 0: as many as the rate allows
	OutOfService    bool // takes no new calls
	// DownAfter is how long the whole site may be silent before the line counts as down; 0: for ever.
	DownAfter time.Duration
}

// Overflow is the way around the lines: how a site's extensions are called over a trunk, and which trunk its own calls
// take.
type Overflow struct {
	Trunk  string
	Strip  int    // leading digits to remove from an extension
	Prefix string // digits to put in front afterwards
}

// Number is an extension of the site as the trunk expects it.
func (o Overflow) Number(extension string) string {
	return o.Prefix + extension[min(o.Strip, len(extension)):]
}

// Site is one place.
type Site struct {
	ID      ID
	Name    string
	Main    bool
	Subnets []netip.Prefix
	Prefix  string // leading digits of its extensions
	Line    *Line  // nil for headquarters: all lines end there
	SRTP    SRTP   // "" = offered
	// Overflow is nil where calls that find no room on a line are refused.
	Overflow *Overflow
	// EmergencyIdentity is the public number shown for emergency calls from here; "" = the trunk's own.
	EmergencyIdentity string
}

// OverlapError says that one subnet belongs to two sites.
type OverlapError struct {
	Subnet netip.Prefix
	A, B   ID
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("subnet %s belongs to both site %s and site %s", e.Subnet, e.A, e.B)
}
