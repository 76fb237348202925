// Package rtcp measures what arrives: reception statistics of an RTP stream (RFC 3550 appendices A.1, A.3 and A.8),
// round trips from sender and receiver reports (§6.4), and the opinion score that follows (E-model, ITU-T G.107).
//
// A Reception has one writer, the goroutine that reads the socket, and any number of readers: the writer keeps its state
// in plain fields and publishes sums by atomic stores, so that a packet costs no lock and no allocation. Report parsing
// works in place on borrowed bytes and trusts no length in them.
//
// It sends no RTCP: the relay forwards the reports of the phones, and only looks at them.
//
//	var r rtcp.Reception
//	r.Packet(now, header, clockRate, ipBytes)  // writer
//	s := r.Snapshot()                          // anybody
//	mos := rtcp.MOS(rtcp.Rating(rtcp.Quality{Codec: "PCMA", Loss: s.LossRatio()}))
package rtcp
