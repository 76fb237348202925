package program

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// openSecrets seals nothing: what is looked at is the file.
type openSecrets struct{}

func (openSecrets) Seal(_ string, plain []byte) ([]byte, error)  { return plain, nil }
func (openSecrets) Open(_ string, sealed []byte) ([]byte, error) { return sealed, nil }

// What a crash cut off, and zeros that the file system left in its place, end what the file holds; it goes on behind that, and
// the number of a piece that may be on the disk in part is not used again (NIST SP 800-38D §8: a nonce once under a key).
func TestAVolumeGoesOnAfterACrash(t *testing.T) {
	for name, tail := range map[string]func(torn []byte) []byte{
		"cut off": func(torn []byte) []byte { return torn[:len(torn)/2] },
		"zeros":   func(torn []byte) []byte { return make([]byte, len(torn)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p")
			v, err := createVolume(path, "id", openSecrets{})
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Append([]byte("first")); err != nil {
				t.Fatal(err)
			}
			torn := v.seal(bytes.Repeat([]byte("lost"), 100))
			if _, err := v.file.WriteAt(tail(torn), v.end); err != nil {
				t.Fatal(err)
			}
			if err := v.file.Close(); err != nil {
				t.Fatal(err)
			}
			v, err = openVolume(path, openSecrets{}, true)
			if err != nil {
				t.Fatal(err)
			}
			defer v.file.Close() //nolint:errcheck // a test's
			if err := v.Truncate(v.size); err != nil {
				t.Fatal(err)
			}
			at := v.end
			if err := v.Append([]byte(" second")); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if lost, next := binary.LittleEndian.Uint32(torn[4:]), binary.LittleEndian.Uint32(raw[at+4:]); next <= lost {
				t.Errorf("number %d after %d", next, lost)
			}
			again, err := openVolume(path, openSecrets{}, false)
			if err != nil {
				t.Fatal(err)
			}
			defer again.file.Close() //nolint:errcheck // a test's
			if got, err := io.ReadAll(io.NewSectionReader(again, 0, again.size)); err != nil || string(got) != "first second" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
