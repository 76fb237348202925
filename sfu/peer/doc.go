// Package peer is one participant's two PeerConnections: `publish`, which the client offers, and `subscribe`, which the
// appliance offers with m-lines that never change (RFC 8829; docs/signalling.md).
//
// One goroutine (Run) owns both: descriptions, candidates, restarts, reports and closing happen there, never inside a callback
// of pion, where closing would wait for itself. What comes of it is told to [Events].
package peer
