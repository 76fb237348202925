// Package feature is everything a person can switch on a telephone: forwards, do not disturb,
// call waiting, a boss's secretary, speed dials, hot desking, ring groups, intercom, call
// completion. It decides what rings for a number (it is sip/call's router), serves the feature
// codes, and keeps the settings.
//
// Split by concern:
//
//	settings.go    what is switched for one extension; its form
//	book.go        reading and changing settings; who may forward where
//	pin.go         the PINs of hot desking, and the lock-out
//	desk.go        who sits at whose phone
//	plan.go        what rings: pure, from settings and a request to a route.Plan with its reasons
//	group.go       ring and hunt groups: pure, and the view of them for people
//	route.go       the shell around plan.go
//	code.go        the feature codes
//	completion.go  ring me when the number is free
//	watch.go       what calls and registrations tell us
//	text.go        what a phone's display shows
//
// No setting touches emergency calls or the duty desk: sip/call does not ask about them, and
// plan.go rings them as the number plan says. Forwards are checked against the class of service of
// the extension that forwards, when they are set and again when they are used. Nothing here sends
// SIP or plays sound.
//
// Settings are written to the database before they count. Reading them takes no database work. A
// Service is safe for concurrent use; hooks and parts are set before Run, whose one goroutine
// ends desks by the clock, calls people back, and writes what may be written behind.
//
//	features, err := feature.Open(ctx, feature.Options{DB: db, Directory: dir, Plan: plan, ...})
//	calls, err := call.New(call.Options{Router: features, ...})
//	calls.OnChange(features.CallChanged)
//	err = features.Run(ctx)
package feature
