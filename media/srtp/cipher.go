package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // HMAC-SHA1 is what RFC 3711 has, and not broken
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

// protector encrypts and authenticates packets of one kind under one session key. It is used by one goroutine at a time.
//
//	RTP,  CM    header | payload | MKI | tag             RTCP, CM    8 octets | rest | E, index | MKI | tag
//	RTP,  GCM   header | payload | tag | MKI             RTCP, GCM   8 octets | rest | tag | E, index | MKI
//
// What the other side sends may carry an MKI (RFC 3711 §3.1); it is not authenticated and there is one key only.
type protector interface {
	// sealRTP encrypts b[head:n] and returns the new length; b has room for it.
	sealRTP(b []byte, head, n int, ssrc uint32, index uint64) int
	// openRTP checks and decrypts b and returns the length of the plain packet. On false a packet may be spoilt.
	openRTP(b []byte, head int, ssrc uint32, index uint64) (int, bool)
	sealRTCP(b []byte, n int, ssrc, index uint32) int
	openRTCP(b []byte) (n int, ok bool)
}

// encrypted is E of an SRTCP packet.
const encrypted = 1 << 31

// controlIndex reads the index of an SRTCP packet, which is not authenticated yet.
func (k Key) controlIndex(b []byte) (index uint32, ok bool) {
	p := k.Suite.parameters()
	at := len(b) - k.mki - 4
	if !p.aead {
		at -= p.control
	}
	if at < controlHeader || p.aead && at < controlHeader+p.control {
		return 0, false
	}
	v := binary.BigEndian.Uint32(b[at:])
	return v &^ encrypted, v&encrypted != 0 // what we agreed on has no unencrypted RTCP
}

// controlHeader is what of an RTCP packet stays clear.
const controlHeader = 8

// protector makes the one for RTP or for RTCP.
func (k Key) protector(rtcp bool) protector {
	p, label := k.Suite.parameters(), byte(0)
	tag := p.tag
	if rtcp {
		label, tag = labelRTCP, p.control
	}
	key, salt := k.derive(label+labelCipher, p.key), k.derive(label+labelSalt, p.salt)
	if p.aead {
		aead, err := cipher.NewGCM(newBlock(key))
		if err != nil {
			panic(err) // AES has the block size of GCM
		}
		g := &gcm{aead: aead, mki: k.mki}
		copy(g.salt[:], salt)
		return g
	}
	c := &cm{keystream: newKeystream(key), mac: hmac.New(sha1.New, k.derive(label+labelAuth, authKey)), tag: tag, mki: k.mki}
	copy(c.salt[:], salt)
	return c
}

// cm is AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1).
type cm struct {
	keystream *keystream
	mac       hash.Hash
	tag, mki  int
	salt      [aes.BlockSize]byte
	counter   [aes.BlockSize]byte
	sum       [sha1.Size]byte
	roc       [4]byte
	stream    [strideSize]byte
}

// crypt applies the keystream: IV = salt XOR SSRC * 2^64 XOR index * 2^16. The blocks of a packet are counted in the two
// lowest octets.
func (c *cm) crypt(b []byte, ssrc uint32, index uint64) {
	c.counter = c.salt
	for i := range 4 {
		c.counter[4+i] ^= byte(ssrc >> (24 - 8*i))
	}
	for i := range 6 {
		c.counter[8+i] ^= byte(index >> (40 - 8*i))
	}
	for n, at := 0, uint16(0); len(b) > 0; b, at = b[n:], at+strideSize/aes.BlockSize {
		binary.BigEndian.PutUint16(c.counter[14:], at)
		c.keystream.stride(&c.stream, &c.counter)
		n = subtle.XORBytes(b, b[:min(len(b), strideSize)], c.stream[:])
	}
}

func (c *cm) authenticate(b []byte, roc []byte) []byte {
	c.mac.Reset()
	_, _ = c.mac.Write(b) // never fails (hash.Hash)
	_, _ = c.mac.Write(roc)
	return c.mac.Sum(c.sum[:0])[:c.tag]
}

// rollover is what of the index is authenticated beside the packet (§4.2).
func (c *cm) rollover(index uint64) []byte {
	binary.BigEndian.PutUint32(c.roc[:], uint32(index>>16)) //nolint:gosec // 48 bits
	return c.roc[:]
}

func (c *cm) sealRTP(b []byte, head, n int, ssrc uint32, index uint64) int {
	c.crypt(b[head:n], ssrc, index)
	return n + copy(b[n:], c.authenticate(b[:n], c.rollover(index)))
}

func (c *cm) openRTP(b []byte, head int, ssrc uint32, index uint64) (int, bool) {
	n := len(b) - c.tag - c.mki
	if n < head || subtle.ConstantTimeCompare(c.authenticate(b[:n], c.rollover(index)), b[len(b)-c.tag:]) == 0 {
		return 0, false
	}
	c.crypt(b[head:n], ssrc, index)
	return n, true
}

func (c *cm) sealRTCP(b []byte, n int, ssrc, index uint32) int {
	c.crypt(b[controlHeader:n], ssrc, uint64(index))
	binary.BigEndian.PutUint32(b[n:], index|encrypted)
	n += 4
	return n + copy(b[n:], c.authenticate(b[:n], nil))
}

func (c *cm) openRTCP(b []byte) (int, bool) {
	end := len(b) - c.tag - c.mki
	n := end - 4
	if n < controlHeader || subtle.ConstantTimeCompare(c.authenticate(b[:end], nil), b[len(b)-c.tag:]) == 0 {
		return 0, false
	}
	c.crypt(b[controlHeader:n], binary.BigEndian.Uint32(b[4:]), uint64(binary.BigEndian.Uint32(b[n:])&^encrypted))
	return n, true
}

// gcm is AES in Galois/counter mode (RFC 7714 §8, §9).
type gcm struct {
	aead  cipher.AEAD
	mki   int
	salt  [12]byte
	nonce [12]byte
	aad   [controlHeader + 4]byte
}

const gcmTag = 16

// iv is 0^16 || SSRC || ROC || SEQ XOR salt; that of RTCP has the index in the place of ROC and SEQ (§8.1, §9.1).
func (g *gcm) iv(ssrc uint32, index uint64) []byte {
	binary.BigEndian.PutUint16(g.nonce[:], 0)
	binary.BigEndian.PutUint32(g.nonce[2:], ssrc)
	binary.BigEndian.PutUint16(g.nonce[6:], uint16(index>>32)) //nolint:gosec // 48 bits
	binary.BigEndian.PutUint32(g.nonce[8:], uint32(index))     //nolint:gosec // the rest
	subtle.XORBytes(g.nonce[:], g.nonce[:], g.salt[:])
	return g.nonce[:]
}

func (g *gcm) sealRTP(b []byte, head, n int, ssrc uint32, index uint64) int {
	g.aead.Seal(b[head:head], g.iv(ssrc, index), b[head:n], b[:head])
	return n + gcmTag
}

func (g *gcm) openRTP(b []byte, head int, ssrc uint32, index uint64) (int, bool) {
	n := len(b) - g.mki
	if n < head+gcmTag {
		return 0, false
	}
	if _, err := g.aead.Open(b[head:head], g.iv(ssrc, index), b[head:n], b[:head]); err != nil {
		return 0, false
	}
	return n - gcmTag, true
}

func (g *gcm) sealRTCP(b []byte, n int, ssrc, index uint32) int {
	copy(g.aad[:], b[:controlHeader])
	binary.BigEndian.PutUint32(g.aad[controlHeader:], index|encrypted)
	g.aead.Seal(b[controlHeader:controlHeader], g.iv(ssrc, uint64(index)), b[controlHeader:n], g.aad[:])
	return n + gcmTag + copy(b[n+gcmTag:], g.aad[controlHeader:])
}

func (g *gcm) openRTCP(b []byte) (int, bool) {
	n := len(b) - g.mki - 4
	if n < controlHeader+gcmTag {
		return 0, false
	}
	copy(g.aad[:], b[:controlHeader])
	copy(g.aad[controlHeader:], b[n:n+4])
	index := binary.BigEndian.Uint32(b[n:]) &^ encrypted
	if _, err := g.aead.Open(b[controlHeader:controlHeader], g.iv(binary.BigEndian.Uint32(b[4:]), uint64(index)), b[controlHeader:n], g.aad[:]); err != nil {
		return 0, false
	}
	return n - gcmTag, true
}
