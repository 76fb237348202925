// Package subscribe tells phones what they want to know: SUBSCRIBE and NOTIFY (RFC 6665) with
// the event packages dialog (RFC 4235), presence (RFC 3856), message-summary (RFC 3842) and
// as-feature-event, each also for a list of numbers (RFC 4662) where that makes sense; PUBLISH
// of presence (RFC 3903) and of quality reports (RFC 6035); MESSAGE between extensions (RFC
// 3428).
//
// Lamps are below calls. The call core tells of its changes without waiting; what changed is
// kept once per number (board.go), one goroutine (notifier.go) sends at a bounded rate, each
// subscription has one NOTIFY under way and gets the newest state with the next (delivery.go).
// CSeq and version come from blocks that the store knows of, so that they never fall, also not
// after a crash. Every table is bounded: per terminal and in total.
//
//	delivery.go       when the next NOTIFY leaves, what its answer means: pure
//	subscribe.go      a SUBSCRIBE, and every reason to refuse one
//	notifier.go       the goroutine that sends; flight.go waits for answers; throttle.go yields to calls
//	compose.go        which document a NOTIFY carries
//	dialog_info.go, presence.go, summary.go, feature_event.go, list.go, quality.go: documents
//	publish.go        PUBLISH; message.go MESSAGE
//	store.go          what survives a restart
//
// It does not serve REFER's implicit subscriptions, which belong to their call. A Service is
// safe for concurrent use.
//
//	s, err := subscribe.Open(ctx, subscribe.Options{Stack: stack, ...}) // registers its methods
//	calls.OnChange(s.CallChanged)
//	locations.OnChange(s.PhoneChanged)
//	err = s.Run(ctx)
package subscribe
