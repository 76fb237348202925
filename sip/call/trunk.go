package call

import (
	"context"
	"time"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// Trunks are the ways to and from other networks (sip/trunk). They are safe for concurrent use.
// Methods without a context return at once; those with one may take time (RFC 3263, connections)
// and are never called by a call's owner.
type Trunks interface {
	// Attempts lists the ways to a number, in the order in which they are to be tried; none when no
	// gateway may be used now.
	Attempts(ctx context.Context, o Outgoing) []Attempt
	// Report tells what became of an attempt: 200 when it was answered, else the code of its failure,
	// 408 for silence, 430 for a gateway that could not be reached, 487 when it was given up.
	Report(trunk, gateway string, code int)
	// Identify says which trunk an INVITE outside of dialogs comes from, by its flow or by the
	// registration that it was sent to. Such an INVITE is not challenged.
	Identify(req *stack.Request) (Incoming, bool)
	// Authorize answers the challenge of a 401 or 407 from a gateway (sip/digest.Answer).
	Authorize(trunk, gateway, challenge, method, uri string, body []byte) (string, error)
	// Reconnect opens a gateway's connection again, for a request in a call whose flow is gone.
	Reconnect(ctx context.Context, trunk, gateway string, gone stack.Flow) (stack.Flow, error)
}

// Outgoing is a call that looks for a way outside.
type Outgoing struct {
	route.Outside
	Caller     directory.Terminal // empty when the call came in by a trunk, or from a number that is no terminal
	FromTrunk  string             // the call came in by this trunk
	From, Name string             // the caller's number and name
	Site       site.ID
	Emergency  bool
	Withheld   bool              // the caller does not want its number shown (RFC 3323)
	Diversions []route.Diversion // the first one first
}

// Attempt is one way to a number: a gateway at one of its addresses. It holds no secret.
type Attempt struct {
	Trunk, Gateway string // their names
	URI            string // Request-URI
	To             string // URI of To; "" = URI
	Routes         []string
	Flow           stack.Flow // where the INVITE leaves; zero when Connect finds it
	// Connect opens or finds the connection of a stream transport; nil: Flow is ready.
	Connect func(ctx context.Context) (stack.Flow, error)
	Site    site.ID // where its media ends, when its address is at no site
	// From is our identity there, Asserted that of P-Asserted-Identity (without a URI: none).
	From, Asserted Identity
	Contact        string      // user part of our Contact
	Headers        [][2]string // further headers, such as Privacy
	// Patience is how long the gateway may be silent before the next one is tried; 0: until the end
	// of the transaction.
	Patience time.Duration
	// SRTP is the trunk's policy for the media: "off", "optional" or "required"; "" = off.
	SRTP string
	// Most is what the trunk and the gateway carry; the call claims its place when it tries the gateway.
	Most Capacity
}

// Capacity is how many calls a trunk and one of its gateways carry, in both directions; 0: no limit.
type Capacity struct{ Trunk, Gateway int }

// Identity is a name and a URI.
type Identity struct{ Name, URI string }

// Incoming is what a trunk says about an INVITE that came over it.
type Incoming struct {
	Trunk, Gateway string
	Site           site.ID // where the gateway's media ends, when its address is at no site
	From           string  // the caller's number as we write it, "" when it is withheld
	Name           string  // the caller's name, if the trunk's word is trusted
	Number         string  // the called number as the plan's Inbound expects it
	Trusted        bool    // its Diversion and History-Info are believed
	Most           Capacity
	SRTP           string // as in Attempt
}

// Router says what rings for a decided number (sip/feature).
type Router interface {
	Route(ctx context.Context, r route.Request) route.Plan
}
