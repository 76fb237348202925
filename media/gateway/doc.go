// Package gateway is our end of a call's media towards a browser (RFC 8827): ICE as a lite agent (RFC 8445 §2.5), DTLS-SRTP
// (RFC 5763, RFC 5764) and RTP and RTCP on one port (RFC 5761), on the shared port of media/webrtc. What a browser sends
// leaves a [Leg] as plain packets; what it gets goes in plain by [Hold.Send]. A leg lasts as long as a media path holds it: a
// browser that is led to another party keeps it. Payloads pass as they are: nothing is
// transcoded, also not the events of RFC 4733.
//
// It does no negotiation: what both sides describe is the business of media/anchor and media/sdp. It never sends a
// connectivity check of its own, gathers nothing, and has no ICE over TCP.
//
// Stages of a packet from the browser, all on the goroutine that reads the shared socket, in the socket's own buffer:
//
//	1 claim   media/webrtc finds the leg by the source address, which has proved itself in a check
//	2 open    SRTP, in place (media/srtp); nothing that is not authentic goes further
//	3 take    the relay counts it and sends it on from the other party's port (media/relay, Stream.Take)
//
// Towards the browser the relay's worker seals in its own buffer and sends. Neither way allocates, takes a lock or logs.
//
// Methods of [Gateway] and [Hold] may be called by any goroutine.
//
//	g := gateway.New(gateway.Options{Plane: plane, Log: log})
//	leg, err := g.Open()            // *Hold
//	offer := leg.Local()            // fragment, password, fingerprint, candidates
//	leg.Attach(func(b []byte, n int) { stream.Take(1, b, n) })
//	leg.Hear(remote, false)         // what the browser answered
//	defer leg.Close()
package gateway
