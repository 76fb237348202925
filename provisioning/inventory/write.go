package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// BackupSuffix ends the name of the file as it was before the last Write.
const BackupSuffix = ".bak"

// Write replaces a file at once: whoever reads it meanwhile, or after a crash,
// has the old one or the new one. Mode and owner stay; what was there before is
// kept beside it. Content that is there already is not written.
func Write(path string, content []byte) error {
	before, err := os.ReadFile(path) //nolint:gosec // the configuration names the file
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return replace(path, content, nil)
	case err != nil:
		return fmt.Errorf("writing %s: %w", path, err)
	case bytes.Equal(before, content):
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := replace(path+BackupSuffix, before, info); err != nil {
		return err
	}
	return replace(path, content, info)
}

// replace writes beside the file and renames: like is whose mode and owner the
// new one has.
func replace(path string, content []byte, like fs.FileInfo) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the link stays one
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(content)
	if err == nil && like != nil {
		err = file.Chmod(like.Mode().Perm())
		if owner, ok := like.Sys().(*syscall.Stat_t); ok && err == nil && os.Geteuid() == 0 {
			err = file.Chown(int(owner.Uid), int(owner.Gid))
		}
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
