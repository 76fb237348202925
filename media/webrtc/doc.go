// Package webrtc is the browser side of the media plane: one UDP port and one TCP port for all PeerConnections (RFC 8445,
// RFC 6544), one persisted DTLS certificate (RFC 8827), and PeerConnections without interceptors whose received packets are
// handed over on the goroutine that decrypted them.
//
// A packet leaves through our own PacketConn: between [Plane.Begin] and [Plane.End] datagrams are collected and leave in one
// sendmmsg(2) per socket; outside they leave at once. Each carries its DSCP (RFC 4594), chosen from the clear RTP header.
//
// It knows neither rooms nor SIP: what to do with a packet is the business of the [Receiver] given to [Plane.NewConnection].
// All methods of [Plane] may be called concurrently.
//
//	plane, err := webrtc.Open(webrtc.Options{UDP: ":30000", TCP: ":30000", Directory: "data/webrtc", Log: log})
//	pc, err := plane.NewConnection(webrtc.Receive, uplink)
//	...
//	plane.Begin(); for _, s := range subscribers { s.Write(...) }; plane.End()
package webrtc
