package lab

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do runs f in the host's network. Sockets that f opens belong to that network for their whole life; goroutines that f
// starts do not run in it, so open the socket in f and use it outside.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with the goroutine, so that no other goroutine lands in the namespace.
		runtime.LockOSThread()
		done <- func() error {
			fd, err := unix.Open("/run/netns/"+h.Namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("namespace of %s: %w", h.Name, err)
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the namespace of %s: %w", h.Name, err)
			}
			return f()
		}()
	}()
	return <-done
}
