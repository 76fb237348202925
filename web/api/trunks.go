package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"linehall/internal/auth"
)

// Trunks knows the ways to other networks.
type Trunks interface {
	Trunks(ctx context.Context) []Trunk
}

// Dialplan explains what the number plan in use makes of a number.
type Dialplan interface {
	// Explain returns ErrNotFound for an unknown extension or trunk.
	Explain(ctx context.Context, q ExplainQuery) (Decision, error)
}

// ExplainQuery asks for a number that an extension dials, or that is dialled from outside over a trunk.
type ExplainQuery struct {
	From, Trunk, Number string
	Caller              string    // the outside caller's number, with Trunk
	At                  time.Time // zero = now
}

// Trunk is a way to another network.
type Trunk struct {
	Name     string    `json:"name"`
	State    string    `json:"state" enum:"up,down,unknown" doc:"up: at least one gateway takes calls"`
	Register bool      `json:"register" doc:"we register with its gateways"`
	Calls    int       `json:"calls" doc:"in both directions"`
	MaxCalls int       `json:"max_calls" doc:"0: no limit"`
	Gateways []Gateway `json:"gateways"`
}

// Gateway is one gateway of a trunk.
type Gateway struct {
	Name            string     `json:"name"`
	State           string     `json:"state" enum:"up,down,unknown"`
	Since           *time.Time `json:"since" doc:"of up or down"`
	Registered      bool       `json:"registered"`
	RegisteredUntil *time.Time `json:"registered_until"`
	Addresses       []string   `json:"addresses" doc:"where its name leads to"`
	Calls           int        `json:"calls"`
	MaxCalls        int        `json:"max_calls" doc:"0: no limit"`
	LastError       *string    `json:"last_error"`
	LastErrorAt     *time.Time `json:"last_error_at"`
}

// Decision is what a number means for a caller, and why.
type Decision struct {
	Kind      string         `json:"kind" enum:"extension,duty,emergency,group,room,feature,outside,forbidden,unknown"`
	Number    string         `json:"number" doc:"of ours as it is listed; outside in E.164 where it has that form"`
	Targets   []string       `json:"targets,omitempty" doc:"extensions that ring"`
	Reserve   []string       `json:"reserve,omitempty" doc:"extensions that ring for an emergency call when no target can be reached"`
	Group     string         `json:"group,omitempty"`
	Feature   string         `json:"feature,omitempty"`
	Argument  string         `json:"argument,omitempty" doc:"what was dialled behind the feature's code"`
	Trunks    []string       `json:"trunks,omitempty" doc:"tried in this order"`
	AsDialled string         `json:"as_dialled,omitempty"`
	Toll      string         `json:"toll,omitempty" enum:"internal,local,long_distance,international"`
	Identity  string         `json:"identity,omitempty" doc:"number shown to the other network instead of the trunk's choice"`
	Withheld  bool           `json:"withheld,omitempty" doc:"the caller's number is not shown"`
	Priority  string         `json:"priority,omitempty" enum:"routine,priority,immediate,flash,flash_override"`
	Hours     string         `json:"hours,omitempty" enum:"open,closed,holiday"`
	Rule      string         `json:"decided_by,omitempty" doc:"the rule, short code or DID that decided"`
	Denied    string         `json:"denied,omitempty" enum:"blocked,blocked callers,class,private,tolls" doc:"what forbids the number"`
	Limits    []TollLimit    `json:"limits,omitempty" doc:"limits against fraud that count for the call: of the telephone, then of each trunk"`
	Steps     []DecisionStep `json:"steps"`
}

// TollLimit is a limit of calls outside beside its use; the use is absent where calls are not counted.
type TollLimit struct {
	Kind           string  `json:"kind" enum:"terminal,trunk"`
	Name           string  `json:"name" doc:"the extension or the trunk"`
	CallsPerHour   int     `json:"calls_per_hour" doc:"0: no limit"`
	AtOnce         int     `json:"at_once" doc:"0: no limit"`
	NumbersPerHour int     `json:"numbers_per_hour" doc:"different numbers; 0: no limit"`
	Calls          *int    `json:"calls,omitempty" doc:"within the last hour"`
	Now            *int    `json:"now,omitempty" doc:"at this moment"`
	Numbers        *int    `json:"numbers,omitempty" doc:"different ones within the last hour"`
	Over           *string `json:"over,omitempty" enum:"calls_per_hour,at_once,numbers_per_hour" doc:"the limit that would refuse the call now"`
}

// DecisionStep is one step on the way to a decision.
type DecisionStep struct {
	Rule   string `json:"rule"`
	Result string `json:"result"`
}

type trunkList struct {
	Trunks []Trunk `json:"trunks"`
}

type explainInput struct {
	From   string    `query:"from" doc:"extension that dials; without trunk"`
	Trunk  string    `query:"trunk" doc:"trunk that the call comes from; without from"`
	Caller string    `query:"caller" doc:"number of the outside caller; with trunk"`
	Number string    `query:"number" maxLength:"128"`
	At     time.Time `query:"at" doc:"moment that schedules are asked about; now when absent"`
}

func (a *API) registerTrunks() {
	view(a, operation("list-trunks", http.MethodGet, "/trunks", "trunks", "The ways to other networks", watchers), watchers,
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[trunkList], error) {
			return &body[trunkList]{trunkList{a.opts.Trunks.Trunks(ctx)}}, nil
		})
	op := operation("explain-number", http.MethodGet, "/dialplan/explain", "trunks", "What the number plan makes of a number, and why", watchers)
	op.Errors = append(op.Errors, http.StatusNotFound)
	view(a, op, watchers, func(ctx context.Context, _ auth.Principal, in *explainInput) (*body[Decision], error) {
		if in.Number == "" || (in.From == "") == (in.Trunk == "") {
			return nil, fmt.Errorf("%w: a number, and either an extension or a trunk", ErrInvalid)
		}
		d, err := a.opts.Dialplan.Explain(ctx, ExplainQuery{From: in.From, Trunk: in.Trunk, Number: in.Number, Caller: in.Caller, At: in.At})
		if err != nil {
			return nil, err
		}
		return &body[Decision]{d}, nil
	})
}
