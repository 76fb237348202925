// Package pace holds back video that would be too much for a leased line at once. A keyframe of 30 KB takes 130 ms on
// 2 Mbit/s: sent in one burst it would fill the router's queue, and every voice behind it would stand still.
//
//	voices                      ────────────────────────────────► socket, at once (reserved, never held back)
//	retransmissions  ┐
//	content          ├─ Site: a token bucket at the line's rate ─► socket, in bursts of at most burstTime
//	video            ┘  less everything that is reserved
//
// A [Site] is one line. Its [Flow]s, one per subscriber's m-line, take turns packet by packet within a class, so that one
// keyframe does not stop the other pictures. Retransmissions come first, content before video. The queue is bounded by
// time: beyond thinDelay a frame outside the base is refused, beyond maxDelay every frame, always at its first packet and
// before it has a sequence number, so that the receiver sees no gap and asks for nothing. Keyframes are asked for by one
// flow of a site at a time ([Flow.Claim]) until the last packet of the one that came has left.
//
// One goroutine ([Pacer.Run]) sends for all sites. The other methods may be called by any goroutine and do not wait for it;
// where a site has no line nothing is queued and the caller sends himself.
package pace
