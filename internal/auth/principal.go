package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"linehall/internal/site"
)

// Role is what somebody may do, coarsely; operations say which roles they take.
type Role string

// The roles.
const (
	Admin    Role = "admin"    // everything
	Operator Role = "operator" // sees everything, hangs up, makes links; changes no users, tokens or secrets
	Chair    Role = "chair"    // leads meetings
	Room     Role = "room"     // a venue's room computer
	Auditor  Role = "auditor"  // reads records and proves them, changes nothing
	User     Role = "user"     // a member of staff
)

// Roles returns all roles, the most powerful first.
func Roles() []Role { return []Role{Admin, Operator, Chair, Room, Auditor, User} }

// ParseRole reads a role's name.
func ParseRole(name string) (Role, error) {
	if r := Role(name); slices.Contains(Roles(), r) {
		return r, nil
	}
	names := make([]string, 0, len(Roles()))
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return "", fmt.Errorf("%w: role %q: want one of %s", ErrInvalid, name, strings.Join(names, ", "))
}

// Kind says how somebody proved who they are.
type Kind string

// The kinds of principals.
const (
	KindUser   Kind = "user"   // name and password
	KindToken  Kind = "token"  // bearer token of a machine
	KindDevice Kind = "device" // a venue's link
	KindLocal  Kind = "local"  // the unix socket: whoever may open DATA
)

// Principal is who makes a request.
type Principal struct {
	Kind  Kind
	Name  string // user name, token name, device id, "local"
	ID    string // of the token or device; "" otherwise
	Role  Role
	Site  site.ID // "" = all sites
	Room  string  // the only room it may enter; "" = not bound to one
	Venue string  // of a device
}

// Local is the principal of the unix socket.
func Local() Principal { return Principal{Kind: KindLocal, Name: "local", Role: Admin} }

// Is reports whether the principal has one of the roles.
func (p Principal) Is(roles ...Role) bool { return slices.Contains(roles, p.Role) }

// MayEnter reports whether the principal may be in the room, at least as a participant: whoever leads or runs meetings,
// and whoever is bound to this room.
func (p Principal) MayEnter(room string) bool {
	if p.Room != "" {
		return p.Room == room
	}
	return p.Is(Admin, Operator, Chair, User, Room)
}

type principalKey struct{}

// WithPrincipal returns a context that carries p.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns who makes the request, if anybody was recognised.
func PrincipalFrom(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}
