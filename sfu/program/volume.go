package program

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
)

// A file in clear is Matroska as it is. Encrypted it is
//
//	magic 8 | size 4 | header, JSON
//	size 4 | number 4 | piece under AES-256-GCM with the file's own key
//	…
//
// and the pieces, put together, are the Matroska file. Each stands alone: what is cut off ends before it. The first piece is
// the file's head, which is written anew at the end, under a number of its own: no number is used twice.
const (
	magic     = "LHPRG\x01\r\n"
	pieceHead = 8
	maxPiece  = 64 << 20
	maxHeader = 64 << 10
	keySize   = 32
	// skipped are the numbers that a file which is opened to go on leaves out: those of pieces that a crash has cut off may
	// have reached the disk in part, and no number is used twice under a key.
	skipped    = 1 << 16
	folderMode = 0o700
	fileMode   = 0o600
)

// ErrDamaged says that a file was altered, or is of another key.
var ErrDamaged = errors.New("the recording is damaged, altered, or encrypted with another key")

// Secrets encrypts at rest (internal/secret).
type Secrets interface {
	Seal(purpose string, plain []byte) ([]byte, error)
	Open(purpose string, sealed []byte) ([]byte, error)
}

func keyPurpose(id string) string { return "programme " + id }

type volumeHeader struct {
	ID  string `json:"id"`
	Key []byte `json:"key"` // sealed
}

// volume is a file that grows at its end. It is one goroutine's while it is written, and anybody's when only read.
type volume struct {
	file   *os.File
	id     string
	aead   cipher.AEAD // nil: in clear
	number uint32      // highest in use
	size   int64       // of what it holds
	end    int64       // of the file, up to the last whole piece
	pieces []piece
}

// piece is where a part of an encrypted file is.
type piece struct {
	at   int64 // in the content
	file int64 // in the file, of its head
	size int   // of the content
}

// createVolume makes a file; secrets nil leaves it in clear.
func createVolume(path, id string, secrets Secrets) (*volume, error) {
	v := &volume{id: id}
	var begin []byte
	if secrets != nil {
		key := make([]byte, keySize)
		_, _ = rand.Read(key) // never fails (crypto/rand)
		sealed, err := secrets.Seal(keyPurpose(id), key)
		if err != nil {
			return nil, fmt.Errorf("key of a recording: %w", err)
		}
		if v.aead, err = newAEAD(key); err != nil {
			return nil, err
		}
		text, err := json.Marshal(volumeHeader{ID: id, Key: sealed})
		if err != nil {
			return nil, fmt.Errorf("recording: %w", err)
		}
		begin = binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(text))) //nolint:gosec // a few hundred
		begin = append(begin, text...)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, fileMode)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	v.file = f
	if _, err := f.WriteAt(begin, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("recording: %w", err), f.Close(), os.Remove(path))
	}
	v.end = int64(len(begin))
	return v, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	aead, err := cipher.NewGCM(b)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	return aead, nil
}

// openVolume opens a file to read, or, with write, to go on.
func openVolume(path string, secrets Secrets, write bool) (*volume, error) {
	mode := os.O_RDONLY
	if write {
		mode = os.O_RDWR
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	v := &volume{file: f}
	if err := v.begin(secrets); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if write {
		v.number += skipped
	}
	return v, nil
}

func (v *volume) begin(secrets Secrets) error {
	info, err := v.file.Stat()
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	var start [len(magic) + 4]byte
	if n, _ := v.file.ReadAt(start[:], 0); n < len(start) || string(start[:len(magic)]) != magic {
		v.size, v.end = info.Size(), info.Size()
		return nil
	}
	size := binary.LittleEndian.Uint32(start[len(magic):])
	if size > maxHeader || secrets == nil {
		return ErrDamaged
	}
	text := make([]byte, size)
	if _, err := v.file.ReadAt(text, int64(len(start))); err != nil {
		return ErrDamaged
	}
	var h volumeHeader
	if err := json.Unmarshal(text, &h); err != nil {
		return ErrDamaged
	}
	key, err := secrets.Open(keyPurpose(h.ID), h.Key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	v.id = h.ID
	if v.aead, err = newAEAD(key); err != nil {
		return err
	}
	return v.survey(int64(len(start))+int64(size), info.Size())
}

// survey finds the pieces up to limit.
func (v *volume) survey(at, limit int64) error {
	for v.end = at; ; {
		var head [pieceHead]byte
		if n, _ := v.file.ReadAt(head[:], v.end); n < len(head) {
			return nil
		}
		sealed, number := int64(binary.LittleEndian.Uint32(head[0:])), binary.LittleEndian.Uint32(head[4:])
		if sealed == 0 && number == 0 { // the file had grown, and the crash came before what was to be written there
			return nil
		}
		if sealed > maxPiece || sealed < int64(v.aead.Overhead()) {
			return ErrDamaged
		}
		if v.end+pieceHead+sealed > limit {
			return nil
		}
		p := piece{at: v.size, file: v.end, size: int(sealed) - v.aead.Overhead()}
		v.pieces = append(v.pieces, p)
		v.size += int64(p.size)
		v.end += pieceHead + sealed
		v.number = max(v.number, number)
	}
}

// Append writes at the end; what failed is taken back.
func (v *volume) Append(b []byte) error {
	if v.aead == nil {
		if _, err := v.file.WriteAt(b, v.end); err != nil {
			return errors.Join(fmt.Errorf("recording: %w", err), v.file.Truncate(v.end))
		}
		v.end += int64(len(b))
		v.size = v.end
		return nil
	}
	out := v.seal(b)
	if _, err := v.file.WriteAt(out, v.end); err != nil {
		return errors.Join(fmt.Errorf("recording: %w", err), v.file.Truncate(v.end))
	}
	v.pieces = append(v.pieces, piece{at: v.size, file: v.end, size: len(b)})
	v.size += int64(len(b))
	v.end += int64(len(out))
	return nil
}

func (v *volume) seal(b []byte) []byte {
	v.number++
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(b)+v.aead.Overhead())) //nolint:gosec // below maxPiece
	out = binary.LittleEndian.AppendUint32(out, v.number)
	nonce, bound := pieceNames(v.id, v.number, v.aead.NonceSize())
	return v.aead.Seal(out, nonce, b, bound)
}

// pieceNames are the nonce of a piece, and what it is bound to.
func pieceNames(id string, number uint32, size int) (nonce, bound []byte) {
	nonce = make([]byte, size)
	binary.BigEndian.PutUint32(nonce[size-4:], number)
	return nonce, binary.BigEndian.AppendUint32([]byte(id), number)
}

// Rewrite puts another head of the same length in the place of the first one.
func (v *volume) Rewrite(head []byte) error {
	at := int64(0)
	if v.aead != nil {
		if len(v.pieces) == 0 || v.pieces[0].size != len(head) {
			return ErrDamaged
		}
		at, head = v.pieces[0].file, v.seal(head)
	}
	if _, err := v.file.WriteAt(head, at); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}

// Truncate cuts off what is behind size, which is the end of a piece.
func (v *volume) Truncate(size int64) error {
	if v.aead == nil {
		v.end, v.size = size, size
	} else {
		i := sort.Search(len(v.pieces), func(i int) bool { return v.pieces[i].at >= size })
		if i < len(v.pieces) {
			if v.pieces[i].at != size {
				return ErrDamaged
			}
			v.end, v.size, v.pieces = v.pieces[i].file, size, v.pieces[:i]
		}
	}
	if err := v.file.Truncate(v.end); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}

// ReadAt reads what the file holds.
func (v *volume) ReadAt(b []byte, at int64) (n int, err error) {
	if v.aead == nil {
		return v.file.ReadAt(b, at) //nolint:wrapcheck // io.EOF has to be itself
	}
	for n < len(b) {
		if at >= v.size {
			return n, io.EOF
		}
		i := sort.Search(len(v.pieces), func(i int) bool { return v.pieces[i].at > at }) - 1
		plain, err := v.open(v.pieces[i])
		if err != nil {
			return n, err
		}
		m := copy(b[n:], plain[at-v.pieces[i].at:])
		n, at = n+m, at+int64(m)
	}
	return n, nil
}

func (v *volume) open(p piece) ([]byte, error) {
	b := make([]byte, pieceHead+p.size+v.aead.Overhead())
	if _, err := v.file.ReadAt(b, p.file); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	nonce, bound := pieceNames(v.id, binary.LittleEndian.Uint32(b[4:]), v.aead.NonceSize())
	plain, err := v.aead.Open(b[pieceHead:pieceHead], nonce, b[pieceHead:], bound)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

func (v *volume) Sync() error  { return v.file.Sync() }  //nolint:wrapcheck // the caller says what
func (v *volume) Close() error { return v.file.Close() } //nolint:wrapcheck // as above
