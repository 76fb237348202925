package holder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// linger is how long files are held while nobody asks for them: a supervisor that starts the program anew is long done.
const linger = time.Minute

// Run is the holder: it serves one process after the other on the listener that Store.spawn handed over as descriptor 3,
// and returns when there is nothing to hold any more or nobody came for it.
func Run() error {
	const listenerFD = 3
	file := os.NewFile(listenerFD, "holder")
	l, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	_ = file.Close() // l has its own
	listener, ok := l.(*net.UnixListener)
	if !ok {
		return fmt.Errorf("holder: descriptor %d is a %T", listenerFD, l)
	}
	defer func() { _ = listener.Close() }()
	return serve(listener, linger)
}

func serve(listener *net.UnixListener, linger time.Duration) error {
	held := map[string]int{}
	defer func() {
		for _, fd := range held {
			_ = unix.Close(fd) // given up
		}
	}()
	for {
		if err := listener.SetDeadline(time.Now().Add(linger)); err != nil {
			return fmt.Errorf("holder: %w", err)
		}
		conn, err := listener.AcceptUnix()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("holder: %w", err)
		}
		attend(conn, held)
		_ = conn.Close() // the other side is gone
		if len(held) == 0 {
			return nil
		}
	}
}

// attend tells one process what is held and does as it says until it is gone.
func attend(conn *net.UnixConn, held map[string]int) {
	for name, fd := range held {
		if send(conn, have+" "+name, fd) != nil {
			return
		}
	}
	if send(conn, have, -1) != nil {
		return
	}
	for {
		verb, name, fd, err := receive(conn)
		if err != nil || verb == "" { // an empty packet is the end
			return
		}
		old, known := held[name]
		switch {
		case verb == keep && fd >= 0:
			held[name] = fd
		case verb == drop:
			delete(held, name)
		default:
			known = false
		}
		if known {
			_ = unix.Close(old) // replaced or given up
		}
	}
}
