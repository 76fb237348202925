package main

import (
	"errors"
	"fmt"
	"testing"

	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/web/session"
)

// A revoked link ends a venue's stay; a database that cannot answer does not.
func TestOnlyALostRightEndsAStay(t *testing.T) {
	venue := auth.Principal{Kind: auth.KindDevice, ID: "d1", Role: auth.Room, Room: "9000", Venue: "branch1"}
	moved := venue
	moved.Room = "9001"
	for _, c := range []struct {
		name string
		now  auth.Principal
		err  error
		want error
	}{
		{"unchanged", venue, nil, nil},
		{"link revoked", auth.Principal{}, session.ErrEnded, session.ErrEnded},
		{"token revoked", auth.Principal{}, fmt.Errorf("token: %w", auth.ErrNotFound), auth.ErrNotFound},
		{"another room", moved, nil, errChanged},
		{"disk full", auth.Principal{}, fmt.Errorf("session: %w", database.ErrFull), nil},
		{"database busy", auth.Principal{}, errors.New("database is locked"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := stay(venue, c.now, c.err); !errors.Is(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
