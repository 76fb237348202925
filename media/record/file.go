package record

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// A recording's file:
//
//	magic 8 | size 4 | header, JSON
//	size 4 | number 4 | chunk + CRC-32C 4        in clear, or
//	size 4 | number 4 | chunk under AES-256-GCM  with the file's own key
//	…
//
// A chunk is a sequence of entries. Times are microseconds since the recording began, as differences within a chunk.
//
//	kind 1 | time, varint | size, varint | body
//
// What is cut off in the middle of a chunk ends before it.

const magic = "LHREC\x01\r\n"

// Kinds of entries.
const (
	entryCaller  = 0 // an RTP packet of the caller
	entryCallee  = 1
	entryFormats = 2 // JSON of Formats
	entryAbout   = 3 // JSON of Info, as of the beginning
	entryEnd     = 4 // JSON of Info, as of the end
	entryGap     = 5 // packets were lost between the relay and the disk
)

const (
	chunkHead  = 8
	maxChunk   = 4 << 20
	maxHeader  = 64 << 10
	keySize    = 32
	folderMode = 0o700
	fileMode   = 0o600
)

var (
	// ErrDamaged says that a file was altered, or is of another key.
	ErrDamaged = errors.New("the recording is damaged, altered, or encrypted with another key")
	crcTable   = crc32.MakeTable(crc32.Castagnoli)
)

// Secrets encrypts at rest (internal/secret).
type Secrets interface {
	Seal(purpose string, plain []byte) ([]byte, error)
	Open(purpose string, sealed []byte) ([]byte, error)
}

// fileHeader stands in clear: it names nobody.
type fileHeader struct {
	ID        string    `json:"id"`
	Call      string    `json:"call"`
	StartedAt time.Time `json:"started_at"`
	Key       []byte    `json:"key,omitempty"` // sealed; nil: in clear
}

func keyPurpose(id string) string { return "recording " + id }

// disk is what a writer needs of a file.
type disk interface {
	io.Writer
	io.Seeker
	Truncate(size int64) error
	Sync() error
	Close() error
}

// writer appends chunks.
type writer struct {
	file   disk
	id     string
	aead   cipher.AEAD // nil: in clear
	number uint32
	good   int64 // bytes that are whole
	buffer []byte
}

// create makes a file; secrets nil leaves it in clear.
func create(path string, h fileHeader, secrets Secrets) (*writer, error) {
	w := &writer{id: h.ID}
	if secrets != nil {
		key := make([]byte, keySize)
		_, _ = rand.Read(key) // never fails (crypto/rand)
		var err error
		if h.Key, err = secrets.Seal(keyPurpose(h.ID), key); err != nil {
			return nil, fmt.Errorf("key of a recording: %w", err)
		}
		if w.aead, err = newAEAD(key); err != nil {
			return nil, err
		}
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	w.file = f
	b := append([]byte(magic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(b[len(magic):], uint32(len(head)))
	if _, err := f.Write(append(b, head...)); err != nil {
		return nil, errors.Join(fmt.Errorf("recording: %w", err), f.Close(), os.Remove(path))
	}
	w.good = int64(len(b) + len(head))
	return w, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	return aead, nil
}

// chunk writes one. A number is never used twice, also when writing failed; what failed is taken back.
func (w *writer) chunk(plain []byte) error {
	w.number++
	var head [chunkHead]byte
	b := append(w.buffer[:0], head[:]...) //nolint:gocritic // kept at the end
	binary.LittleEndian.PutUint32(b[4:], w.number)
	if w.aead != nil {
		nonce, bound := chunkNames(w.id, w.number, w.aead.NonceSize())
		b = w.aead.Seal(b, nonce, plain, bound)
	} else {
		b = append(b, plain...)
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[4:], crcTable))
	}
	binary.LittleEndian.PutUint32(b[0:], uint32(len(b)-chunkHead))
	w.buffer = b
	if _, err := w.file.Write(b); err != nil {
		_, seekErr := w.file.Seek(w.good, io.SeekStart)
		return errors.Join(fmt.Errorf("recording: %w", err), w.file.Truncate(w.good), seekErr)
	}
	w.good += int64(len(b))
	return nil
}

// chunkNames are the nonce of a chunk, and what it is bound to.
func chunkNames(id string, number uint32, size int) (nonce, bound []byte) {
	nonce = make([]byte, size)
	binary.BigEndian.PutUint32(nonce[size-4:], number)
	return nonce, binary.BigEndian.AppendUint32([]byte(id), number)
}

// entries collects those of a chunk.
type entries struct {
	bytes []byte
	last  int64
}

func (e *entries) add(kind byte, at int64, body []byte) {
	e.bytes = append(e.bytes, kind)
	e.bytes = binary.AppendVarint(e.bytes, at-e.last)
	e.bytes = binary.AppendUvarint(e.bytes, uint64(len(body)))
	e.bytes = append(e.bytes, body...)
	e.last = at
}

func (e *entries) addJSON(kind byte, at int64, v any) {
	body, err := json.Marshal(v)
	if err != nil { // structs of our own
		panic(err)
	}
	e.add(kind, at, body)
}

func (e *entries) reset() { e.bytes, e.last = e.bytes[:0], 0 }

// reader reads a file from its beginning.
type reader struct {
	fileHeader

	file   *os.File
	in     *bufio.Reader
	aead   cipher.AEAD
	number uint32
	sealed []byte
	chunk  []byte // rest
	last   int64
	limit  int64 // bytes of the file that are read; what is written meanwhile is not
}

// openFile opens a file for reading.
func openFile(path string, secrets Secrets) (*reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	r := &reader{file: f}
	if err := r.begin(secrets); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *reader) begin(secrets Secrets) error {
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	r.limit = info.Size()
	return r.rewind(secrets)
}

// rewind goes back to the first chunk.
func (r *reader) rewind(secrets Secrets) error {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	r.in = bufio.NewReaderSize(io.LimitReader(r.file, r.limit), 64<<10)
	r.number, r.chunk, r.last = 0, nil, 0
	var head [len(magic) + 4]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil || string(head[:len(magic)]) != magic {
		return ErrDamaged
	}
	size := binary.LittleEndian.Uint32(head[len(magic):])
	if size > maxHeader {
		return ErrDamaged
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r.in, text); err != nil {
		return ErrDamaged
	}
	if err := json.Unmarshal(text, &r.fileHeader); err != nil {
		return ErrDamaged
	}
	if r.Key == nil || r.aead != nil {
		return nil
	}
	if secrets == nil {
		return ErrDamaged
	}
	key, err := secrets.Open(keyPurpose(r.ID), r.Key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r.aead, err = newAEAD(key)
	return err
}

// next returns the next entry; its body is valid until the next call. io.EOF: that was all, or the rest was cut off.
func (r *reader) next() (kind byte, at int64, body []byte, err error) {
	for len(r.chunk) == 0 {
		if err := r.nextChunk(); err != nil {
			return 0, 0, nil, err
		}
	}
	kind, delta, body, rest, ok := entry(r.chunk)
	if !ok {
		return 0, 0, nil, ErrDamaged
	}
	r.last += delta
	r.chunk = rest
	return kind, r.last, body, nil
}

// entry reads the first entry of a chunk that is not empty.
func entry(chunk []byte) (kind byte, delta int64, body, rest []byte, ok bool) {
	kind = chunk[0]
	delta, n := binary.Varint(chunk[1:])
	if n <= 0 {
		return 0, 0, nil, nil, false
	}
	rest = chunk[1+n:]
	size, m := binary.Uvarint(rest)
	if m <= 0 || size > uint64(len(rest)-m) {
		return 0, 0, nil, nil, false
	}
	return kind, delta, rest[m : m+int(size)], rest[m+int(size):], true
}

func (r *reader) nextChunk() error {
	var head [chunkHead]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return io.EOF
	}
	size, number := binary.LittleEndian.Uint32(head[0:]), binary.LittleEndian.Uint32(head[4:])
	if size > maxChunk || number <= r.number {
		return ErrDamaged
	}
	if cap(r.sealed) < int(size) {
		r.sealed = make([]byte, size)
	}
	b := r.sealed[:size]
	if _, err := io.ReadFull(r.in, b); err != nil {
		return io.EOF
	}
	r.number, r.last = number, 0
	if r.aead != nil {
		nonce, bound := chunkNames(r.ID, number, r.aead.NonceSize())
		plain, err := r.aead.Open(b[:0], nonce, b, bound)
		if err != nil {
			return ErrDamaged
		}
		r.chunk = plain
		return nil
	}
	if size < 4 {
		return ErrDamaged
	}
	plain := b[:size-4]
	sum := crc32.Update(crc32.Checksum(head[4:], crcTable), crcTable, plain)
	if sum != binary.LittleEndian.Uint32(b[size-4:]) {
		return ErrDamaged
	}
	r.chunk = plain
	return nil
}

func (r *reader) close() error { return r.file.Close() }
