// Package line is the ledger of the leased lines: who reserved how much of which line, what is left for video, and what
// was measured.
//
// One line per branch, two directions, seen from the branch; headquarters has none, so a call between headquarters and
// a branch takes one line and a call between two branches takes both at once or none. Rates are bit/s on the wire: every
// packet costs its IP length and the line's configured overhead (site.Overhead).
//
// What a direction of a line holds:
//
//	|<------------------------------- capacity ------------------------------->|
//	| office reserve |                       usable                             |
//	|  never ours    | reservations (firm)           | left for elastic classes |
//	                   emergency  priority  voice       content  video  bulk
//	                   conference audio, at least
//	                   its floor kept free of calls
//
// Reserve looks at reservations only, never at what video uses: a call may take what video holds, and the elastic
// budgets shrink by callback before Reserve returns. Calls cannot eat the conference audio floor, see FloorRate. A call
// with a Precedence takes the place of lower calls when there is no room otherwise (preempt.go). Emergency is never
// refused: it may use the office reserve, ends calls when the line has not even that, and is admitted in any case.
//
// Concurrency: every method may be called by any goroutine. The ledger owns no goroutine; callbacks run in the goroutine
// whose call changed the budget or took the place, without a lock held and one at a time per Elastic. Meters are atomics.
//
//	ledger := line.NewLedger(table, log, registry)
//	lease := ledger.Open(line.Holder{Class: line.Voice, Name: callID, Preempted: hangUp})
//	defer lease.Release()
//	err := lease.Resize(line.Demand{Site: "branch1", Rate: line.Rate{Up: 87200, Down: 87200}}) // *line.Refused
//	video := ledger.Elastic(line.Video, "branch1", func(left line.Rate) { room.Post(budget(left)) })
package line
