// Package forward is the packet path of the conference: what a publisher sends is received once, kept once for retransmission,
// and written to every subscriber that watches (RFC 3550 translator without mixing).
//
// An [Uplink] takes the packets of one publisher's connection and sorts them into the [Layer]s of its three [Track]s:
// microphone, camera (simulcast, RFC 8853) and content. A [Slot] is one m-line of a subscriber's connection; it follows one
// track at a time and one of its layers. Towards the publisher a layer asks for lost packets (RFC 4585 generic NACK, answered
// by RTX, RFC 4588) and for keyframes (PLI); towards the subscriber a slot answers NACKs from the layer's history.
//
// A layer belongs to the goroutine that decrypts its publisher's packets. Its list of slots is an immutable snapshot, so the
// fan-out takes no lock on it; a slot has a mutex of its own, uncontended while it follows one publisher, without which a
// hand-over between two publishers could use one sequence number, and with it one AES-GCM nonce, twice.
//
// It knows neither rooms nor signalling, and negotiates nothing.
package forward
