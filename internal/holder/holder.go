// Package holder keeps open files alive while the process is away: after a crash or a restart the next one gets them
// back, and meanwhile the kernel still knows their ports, so nobody who sends there is told that nobody listens.
//
// Where systemd runs the service, its descriptor store does that (sd_notify: FDSTORE, FDNAME). Elsewhere a small process of
// our own does: the same program, started once and with nothing but the files; it ends when it has been alone for a
// minute, or has nothing to hold when it is left. Both are a Store. What a socket received meanwhile waits in it.
//
// Concurrency: a Store may be used by any goroutine.
//
//	store, kept, err := holder.Open(filepath.Join(data, "holder.sock"), "hold")
//	defer store.Close()
//	err = store.Keep("relay-10000", fd)
package holder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// File is an open file that was held.
type File struct {
	Name string
	FD   int // the caller's from now on
}

// Store holds duplicates of open files by name.
type Store struct {
	path    string
	command string
	systemd bool

	mu   sync.Mutex    // guards conn; keeps messages apart
	conn *net.UnixConn // to the holder or to systemd; nil before the first Keep
}

const (
	notifyVariable = "NOTIFY_SOCKET"
	// patience bounds a message to the holder: calls wait for it.
	patience = time.Second
	// longest is more than any message of ours has.
	longest = 256
)

// Open returns a store and what it holds from the time before. path is where the holder listens, command the argument
// that makes this program one (see Run). Nothing is started before the first Keep.
func Open(path, command string) (*Store, []File, error) {
	s := &Store{path: path, command: command}
	if socket := os.Getenv(notifyVariable); socket != "" {
		s.systemd, s.path = true, socket
		return s, handed(), nil
	}
	conn, err := dial(path)
	if err != nil {
		return s, nil, nil //nolint:nilerr // nobody holds anything
	}
	s.conn = conn
	files, err := s.takeOver()
	if err != nil {
		return s, files, errors.Join(err, s.Close())
	}
	return s, files, nil
}

// handed returns what systemd passed on (sd_listen_fds): descriptors from 3 on.
func handed() []File {
	const first = 3
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return nil
	}
	count, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil {
		return nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	files := make([]File, 0, count)
	for i := range count {
		unix.CloseOnExec(first + i)
		f := File{FD: first + i}
		if i < len(names) {
			f.Name = names[i]
		}
		files = append(files, f)
	}
	return files
}

func dial(path string) (*net.UnixConn, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("holder: %w", err)
	}
	return conn, nil
}

// takeOver reads what the holder has: a message per file, then an empty name.
func (s *Store) takeOver() (files []File, err error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, fmt.Errorf("holder: %w", err)
	}
	for {
		verb, name, fd, err := receive(s.conn)
		if err != nil {
			return files, err
		}
		if verb != have || fd < 0 {
			return files, nil
		}
		files = append(files, File{Name: name, FD: fd})
	}
}

// Keep holds a duplicate of fd under a name, in place of what had it before.
func (s *Store) Keep(name string, fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		if err := s.start(); err != nil {
			return err
		}
	}
	if s.systemd {
		return send(s.conn, "FDSTORE=1\nFDPOLL=0\nFDNAME="+name, fd)
	}
	return send(s.conn, keep+" "+name, fd)
}

// Release gives up what Keep held.
func (s *Store) Release(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.systemd && s.conn == nil:
		if err := s.start(); err != nil {
			return err
		}
		fallthrough
	case s.systemd:
		return send(s.conn, "FDSTOREREMOVE=1\nFDNAME="+name, -1)
	case s.conn == nil:
		return nil
	}
	return send(s.conn, drop+" "+name, -1)
}

// Close leaves the holder, which waits for the next process.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err //nolint:wrapcheck // names the socket
}

func (s *Store) start() error {
	if s.systemd {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"})
		if err != nil {
			return fmt.Errorf("descriptor store: %w", err)
		}
		s.conn = conn
		return nil
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) { // nobody listened there
		return fmt.Errorf("holder: %w", err)
	}
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: s.path, Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	listener.SetUnlinkOnClose(false) // the holder listens on
	defer func() { _ = listener.Close() }()
	if err := s.spawn(listener); err != nil {
		return err
	}
	if s.conn, err = dial(s.path); err != nil {
		return err
	}
	_, err = s.takeOver() // nothing yet
	return err
}

// spawn starts the holder in a session of its own: what ends us does not end it.
func (s *Store) spawn(listener *net.UnixListener) error {
	file, err := listener.File()
	if err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	defer func() { _ = file.Close() }()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	cmd := exec.Command(self, s.command) //nolint:noctx,gosec // it outlives us, that is its purpose; this very program
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = []string{"GOMAXPROCS=1", "GOMEMLIMIT=16MiB"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	go func() { _ = cmd.Wait() }() // reaps it, should it end before us
	return nil
}

// Verbs of the messages.
const (
	have = "have" // holder: this is held; without a name: that was all
	keep = "keep"
	drop = "drop"
)

// send writes one message, with a file if fd is not negative.
func send(conn *net.UnixConn, text string, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	// WriteMsgUnix refuses connected datagram sockets.
	var failed error
	err = raw.Write(func(socket uintptr) bool {
		failed = unix.Sendmsg(int(socket), []byte(text), rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) //nolint:gosec // a descriptor
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	return nil
}

// receive reads one message; fd is -1 without a file.
func receive(conn *net.UnixConn) (verb, name string, fd int, err error) {
	text, rights := make([]byte, longest), make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		return "", "", -1, fmt.Errorf("holder: %w", err)
	}
	fd = -1
	if messages, err := unix.ParseSocketControlMessage(rights[:size]); err == nil && len(messages) > 0 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) > 0 {
			fd = fds[0]
			unix.CloseOnExec(fd)
		}
	}
	verb, name, _ = strings.Cut(string(text[:n]), " ")
	return verb, name, fd, nil
}
