package holder

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func socket(t *testing.T) (fd, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, name.(*unix.SockaddrInet4).Port
}

func TestTheNextProcessGetsWhatTheLastOneKept(t *testing.T) {
	t.Setenv(notifyVariable, "")
	path := filepath.Join(t.TempDir(), "holder.sock")
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- serve(listener, 10*time.Second) }()

	first, kept, err := Open(path, "hold")
	if err != nil || len(kept) != 0 {
		t.Fatal(kept, err)
	}
	a, port := socket(t)
	b, _ := socket(t)
	for name, fd := range map[string]int{"a": a, "b": b} {
		if err := first.Keep(name, fd); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
	}
	if err := first.Release("b"); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second, kept, err := Open(path, "hold")
	if err != nil || len(kept) != 1 || kept[0].Name != "a" {
		t.Fatal(kept, err)
	}
	name, err := unix.Getsockname(kept[0].FD)
	if err != nil || name.(*unix.SockaddrInet4).Port != port {
		t.Errorf("%v, %v; want port %d", name, err, port)
	}
	_ = unix.Close(kept[0].FD)
	if err := second.Release("a"); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSystemdsStoreIsAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = systemd.Close() }()
	t.Setenv(notifyVariable, path)
	store, kept, err := Open("unused", "hold")
	if err != nil || len(kept) != 0 {
		t.Fatal(kept, err)
	}
	defer func() { _ = store.Close() }()
	fd, _ := socket(t)
	defer func() { _ = unix.Close(fd) }()
	if err := store.Keep("relay-10000", fd); err != nil {
		t.Fatal(err)
	}
	text, rights := make([]byte, 256), make([]byte, 64)
	n, size, _, _, err := systemd.ReadMsgUnix(text, rights)
	if err != nil || size == 0 {
		t.Fatal("no descriptor came", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:size])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fds[0])
	if got := string(text[:n]); !strings.Contains(got, "FDSTORE=1\n") || !strings.HasSuffix(got, "FDNAME=relay-10000") {
		t.Errorf("%q", got)
	}
	if err := store.Release("relay-10000"); err != nil {
		t.Fatal(err)
	}
	if n, _, _, _, err = systemd.ReadMsgUnix(text, rights); err != nil || string(text[:n]) != "FDSTOREREMOVE=1\nFDNAME=relay-10000" {
		t.Errorf("%q, %v", text[:n], err)
	}
}

func TestSystemdsFilesAreOurs(t *testing.T) {
	t.Setenv(notifyVariable, "unused")
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "4")
	if files := handed(); len(files) != 0 || os.Getpid() == 1 {
		t.Errorf("files of another process: %v", files)
	}
}
