// Package venue is a native participant of a room: it exchanges its link for a cookie, speaks the room signalling of
// docs/signalling.md over a WebSocket, publishes film and voice from package media on one PeerConnection (VP8
// simulcast in three layers, RFC 8853, with retransmission by RFC 4588, and Opus), and measures what the server sends
// on the other: frames that a decoder could show, freezes, sizes, loss, whose picture and whose voice it is.
//
// Where pion is kept out of the way: packets are built here, with MID, RID and audio level (RFC 8852, RFC 6464), NACK
// is answered from a ring per layer, and sender reports are our own. On the receiving side pion's interceptors do the
// usual (NACK, receiver reports, transport-wide feedback).
//
// It does not decode sound or inter frames and has no screen: of every keyframe the background colour is looked at.
// One goroutine owns the venue (Run); tracks and timers report to it through the venue's lock.
//
//	link, err := venue.ParseLink(url)
//	v, err := venue.New(venue.Config{Link: link, TLS: tlsConfig, Bind: address})
//	err = v.Run(ctx) // until ctx ends
//	report := v.Report()
package venue
