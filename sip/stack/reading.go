package stack

import "context"

// pressure is how many datagrams in a row were there already when the reader came for them, from which on it passes on what
// others can do beside it.
const pressure = 8

// Reading is a goroutine that reads a datagram socket. It serves each message before it reads the next one, which is the
// cheapest way as long as it only computes: handing a message to another goroutine costs more than most messages do. Who is
// about to wait has another goroutine read on. A nil Reading is of a goroutine that reads no datagram socket.
//
// Its methods are for what runs on that goroutine, until it returns there.
type Reading struct {
	socket *udpSocket
	ctx    context.Context //nolint:containedctx // of the goroutine that reads on
	left   bool
}

// Leave has another goroutine read the socket from now on: the one that calls it may wait.
func (r *Reading) Leave() {
	if r == nil || r.left {
		return
	}
	r.left = true
	s := r.socket.stack
	s.workers.Run(&s.work, func() { r.socket.read(r.ctx) })
}

// Pressed reports whether messages wait to be read: others ought to have part of the work.
func (r *Reading) Pressed() bool { return r != nil && (r.left || r.socket.ready >= pressure) }
