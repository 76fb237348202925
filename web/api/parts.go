package api

import (
	"context"
	"errors"
	"time"
)

// Errors that the parts return; everything else is answered with 500 and logged.
var (
	// ErrNotFound: no such terminal, call, room, venue or site.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable: the part cannot do it now; the message says why.
	ErrUnavailable = errors.New("not available now")
	// ErrConflict: something else is under way, or has changed meanwhile; the message says what.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: a value breaks a rule; the message says which.
	ErrInvalid = errors.New("not valid")
)

// Appliance knows how everything is.
type Appliance interface {
	Status(ctx context.Context) Status
}

// Terminals knows the desk phones.
type Terminals interface {
	Terminals(ctx context.Context) []Terminal
	Terminal(ctx context.Context, extension string) (Terminal, error)
	// Credentials returns a terminal's password among others; the API records each call before it is made.
	Credentials(ctx context.Context, extension string) (Credentials, error)
}

// Enrolment lets phones fetch their first file.
type Enrolment interface {
	// OpenEnrolment opens the window of a site and returns its end.
	OpenEnrolment(ctx context.Context, site string, length time.Duration) (time.Time, error)
	UnknownTerminals(ctx context.Context) []UnknownTerminal
}

// Calls knows the calls going on.
type Calls interface {
	Calls(ctx context.Context) []Call
	Call(ctx context.Context, id string) (Call, error)
	// HangUp ends a call; the reason is told to both phones and stands in the record.
	HangUp(ctx context.Context, id, reason string) error
	// Dial calls an extension and connects it to a number as if it had dialled that; it returns the id of
	// the call to the extension. ErrNotFound: no such extension; ErrInvalid: it may not call that number.
	Dial(ctx context.Context, from, to string) (id string, err error)
}

// Lines knows the accounts of the leased lines.
type Lines interface {
	Lines(ctx context.Context) []Line
}

// Rooms knows the meeting rooms.
type Rooms interface {
	Rooms(ctx context.Context) []Room
	Room(ctx context.Context, number string) (Room, error)
	// CallPhone calls a telephone into a room's meeting; by is whose word it is.
	CallPhone(ctx context.Context, room, number, by string) error
}

// CDRQuery says which records are wanted, newest first.
type CDRQuery struct {
	From, To time.Time // started at or after, and before; zero = open
	Site     string    // "" = all
	Limit    int
}

// Records knows the calls that ended.
type Records interface {
	CDRs(ctx context.Context, q CDRQuery) ([]CDR, error)
	CDR(ctx context.Context, id string) (CDR, error)
}

// Certificates knows the certificates in use.
type Certificates interface {
	Certificates(ctx context.Context) []Certificate
	RenewCertificates(ctx context.Context) error
}
