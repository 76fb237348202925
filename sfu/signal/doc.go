// Package signal is the wire side of a meeting: the JSON messages of docs/signalling.md and the WebSocket (RFC 6455) that
// carries them. It decides nothing about rooms; those are behind [Rooms] and [Member].
//
// A connection has a goroutine that reads and one that writes. What is to be written waits in a bounded queue; a client that
// lets it fill up is disconnected and may resume.
package signal
