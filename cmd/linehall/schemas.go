package main

import (
	"linehall/internal/audit"
	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/media/record"
	"linehall/provisioning/enrolment"
	"linehall/provisioning/plan"
	"linehall/provisioning/visit"
	"linehall/sfu/program"
	"linehall/sfu/room"
	"linehall/sfu/schedule"
	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/feature"
	"linehall/sip/focus"
	"linehall/sip/guard"
	"linehall/sip/location"
	"linehall/sip/subscribe"
	"linehall/sip/toll"
	"linehall/sip/trace"
	"linehall/web/session"
)

// schemas lists every domain's tables in the order of their migration: the ground first. New ones go to the end.
func schemas() []database.Schema {
	return []database.Schema{
		directory.Schema(), audit.Schema(), auth.Schema(), location.Schema(), call.Schema(), cdr.Schema(), enrolment.Schema(), session.Schema(), subscribe.Schema(), trace.Schema(), feature.Schema(), guard.Schema(), toll.Schema(), record.Schema(), room.Schema(), plan.Schema(), visit.Schema(), schedule.Schema(), program.Schema(), focus.Schema(),
	}
}
