package call

import (
	"context"
	"time"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/dialplan"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// Trunks are the ways to and from other networks (sip/trunk). They are safe for concurrent use.
type Trunks interface {
	// Attempts lists the ways to a number, in the order in which they are to be tried; none when no
	// gateway may be used now. It may take time (RFC 3263) and is not called by a call's owner.
	Attempts(ctx context.Context, o Outgoing) []Attempt
	// Identify says which trunk an INVITE outside of dialogs comes from, by its flow or by the
	// registration that it was sent to. Such an INVITE is not challenged.
	Identify(req *stack.Request) (Incoming, bool)
	// Report tells what became of an attempt: 200, the code of its failure, 408 for silence, 430
	// for a gateway that could not be reached. Emergency calls are reported as well.
	Report(a Attempt, code int)
}

// Outgoing is a call that looks for a way outside.
type Outgoing struct {
	Trunks     []string // names, the first is preferred
	Number     string   // as the plan wants it, before the trunks' own rules
	Caller     directory.Terminal
	FromTrunk  string // the call came in by this trunk; then Caller is empty
	From       string // the caller's number
	Name       string // the caller's name
	Site       site.ID
	Decision   dialplan.Decision
	Emergency  bool
	Diversions []route.Diversion
}

// Attempt is one way to a number: a gateway at one of its addresses. It holds no secret.
type Attempt struct {
	Trunk   string // its name, for the record
	Gateway string // its address or name, for the record
	URI     string // Request-URI
	To      string // To, without display name; "" = URI
	Routes  []string
	Flow    stack.Flow // where the INVITE leaves; zero when Connect makes it
	// Connect opens or finds the connection of a stream transport; nil: Flow is ready. It is not
	// called by the call's owner.
	Connect func(ctx context.Context) (stack.Flow, error)
	Site    site.ID // where its media ends, when its address is at no site
	// From is our identity there, Asserted that of P-Asserted-Identity (no URI: none).
	From, Asserted Identity
	Contact        string      // user part of our Contact
	Headers        [][2]string // further headers, such as Privacy
	// Authorize answers a 401 or 407 of the gateway; nil: it cannot be answered. The challenge is
	// the header's value.
	Authorize func(challenge, method, uri string, body []byte) (string, error)
	// Patience is how long the gateway may be silent before the next one is tried; 0: until the end
	// of the transaction.
	Patience time.Duration
	// SRTP is the trunk's policy for the media: "off", "optional" or "required".
	SRTP string
}

// Identity is a name and a URI.
type Identity struct{ Name, URI string }

// Incoming is what a trunk says about an INVITE that came over it.
type Incoming struct {
	Trunk  string
	Site   site.ID // where the gateway's media ends, when its address is at no site
	From   string  // the caller's number as we write it, "" when withheld
	Name   string  // the caller's name, if the trunk's word is trusted
	Number string  // the called number as the plan's Inbound expects it
	Class  string  // class of service of what comes over the trunk
	// Trusted says that its Diversion and History-Info are believed.
	Trusted bool
	// Refuse is set when the trunk takes no more calls.
	Refuse *route.Refusal
}

// Router says what rings for a decided number (sip/feature).
type Router interface {
	Route(ctx context.Context, r route.Request) route.Plan
}
