package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockName is the file whose lock says that an appliance lives in a data directory.
const lockName = "linehall.lock"

// lockInstance keeps a second appliance away from the data directory. The kernel gives the lock back when the process
// ends, however it ends.
func lockInstance(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("lock %s: %w", path, err)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("another appliance runs on the data directory %s; stop it, or choose another with --data", dir)
		}
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
