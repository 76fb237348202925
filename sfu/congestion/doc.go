// Package congestion finds out what a leased line really carries, from what the receivers behind it say: transport-wide
// feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01), REMB (draft-alvestrand-rmcat-remb-03) of a browser that sends
// none, and, upwards, from when the voices of its publishers arrive. The verdict may only lower what the ledger gives out: the
// contract is the prior and the ceiling (ADR 0038).
//
// One Line per site and direction pools everybody behind it, for they share the bottleneck. What one of them alone suffers is
// its own wireless network, not the line: the least delayed and the least lossy path speaks for the line.
//
//	signal                                    verdict
//	a queue stands for 300 ms, or losses      a limit a little below what got through
//	the limit changed neither queue nor loss  it was not ours: the limit goes, the delay or loss is inherent
//	no feedback although we send              half, once, until feedback is back
//	calm                                      probe: padding above the limit for half a second; proven is raised
//
// Control is a function of its inputs and the time; a Pool feeds it ten times a second and owns no sockets.
//
//	pool := congestion.NewPool(ledger)
//	sender := pool.Sender(pad)                 // of one subscriber's connection
//	sender.Move("branch1")
//	number := sender.Stamp(time.Now(), octets) // into each packet
//	sender.Feedback(report, time.Now())        // from each report
package congestion
