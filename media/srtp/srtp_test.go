package srtp

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pion "github.com/pion/srtp/v3"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func keyOf(suite Suite, raw []byte) Key {
	p := suite.parameters()
	return Key{Suite: suite, master: raw[:p.key], salt: raw[p.key : p.key+p.salt]}
}

// RFC 3711 appendix B.3.
func TestKeyDerivation(t *testing.T) {
	k := keyOf(AESCM128HMACSHA180, unhex(t, "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6"))
	for label, want := range map[byte]string{
		labelCipher: "C61E7A93744F39EE10734AFE3FF7A087",
		labelSalt:   "30CBBC08863D8C85D49DB34A9AE1",
		labelAuth:   "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
	} {
		if got := k.derive(label, len(want)/2); !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("label %d: %X", label, got)
		}
	}
}

// RFC 3711 appendix B.2: the keystream under a session key, its beginning and its last blocks before the counter's end.
func TestKeystream(t *testing.T) {
	c := &cm{keystream: newKeystream(unhex(t, "2B7E151628AED2A6ABF7158809CF4F3C"))}
	copy(c.salt[:], unhex(t, "F0F1F2F3F4F5F6F7F8F9FAFBFCFD"))
	b := make([]byte, 0xff02*16)
	c.crypt(b, 0, 0)
	for at, want := range map[int]string{
		0: "E03EAD0935C95E80E166B16DD92B4EB4", 1: "D23513162B02D0F72A43A2FE4A5F97AB", 2: "41E95B3BB0A2E8DD477901E4FCA894C0",
		0xfeff: "EC8CDF7398607CB0F2D21675EA9EA1E4", 0xff00: "362B7C3C6773516318A077D7FC5073AE", 0xff01: "6A2CC3787889374FBEB4C81B17BA6C44",
	} {
		if got := b[at*16 : at*16+16]; !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("block %#x: %X", at, got)
		}
	}
}

// With the processor's AES instructions and without, the keystream is that of crypto/cipher.
func TestKeystreamAgainstCTR(t *testing.T) {
	for i := range 200 {
		key, salt := make([]byte, 16+16*(i%2)), make([]byte, 14)
		_, _ = rand.Read(key)
		_, _ = rand.Read(salt)
		c := &cm{keystream: newKeystream(key)}
		if i%4 > 1 {
			c.keystream.rounds = 0
		}
		copy(c.salt[:], salt)
		ssrc, index, n := mathrand.Uint32(), mathrand.Uint64()>>16, mathrand.IntN(1500)
		iv := bytes.Clone(c.salt[:])
		for j := range 4 {
			iv[4+j] ^= byte(ssrc >> (24 - 8*j))
		}
		for j := range 6 {
			iv[8+j] ^= byte(index >> (40 - 8*j))
		}
		want, got := make([]byte, n), make([]byte, n)
		_, _ = rand.Read(want)
		copy(got, want)
		cipher.NewCTR(newBlock(key), iv).XORKeyStream(want, want)
		if c.crypt(got, ssrc, index); !bytes.Equal(got, want) {
			t.Fatalf("key %x, salt %x, ssrc %#x, index %#x, %d octets, rounds %d", key, salt, ssrc, index, n, c.keystream.rounds)
		}
	}
}

// RFC 7714 §16: RTP and RTCP under session keys, as they come out of the derivation.
func TestGCM(t *testing.T) {
	plain := unhex(t, "8040f17b 8041f8d3 5501a0b2 47616c6c 6961206573742 06f6d6e69732064697669736120 696e207061727465732074726573")
	for _, tt := range []struct{ name, key, want string }{
		{
			"128", "000102030405060708090a0b0c0d0e0f",
			"8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6cacba861c9d7e4bca be633bd50d294e6f42a5f47a51c7d19b 36de3adf8833899d7f27beb16a9152cf 765ee4390cce",
		},
		{
			"256", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			"8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12ef9f78fa332e33aa b18012389a58e2f3b50b2a0276ffae0f 1ba63799b87b7aa3db36dfffd6b0f9bb 7878d7a76c13",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := (Key{Suite: AEADAES128GCM, master: make([]byte, 16), salt: make([]byte, 12)}).protector(false).(*gcm)
			g.aead = aeadOf(unhex(t, tt.key))
			copy(g.salt[:], unhex(t, "517569642070726f2071756f"))
			b := append(bytes.Clone(plain), make([]byte, Overhead)...)
			n := g.sealRTP(b, 12, len(plain), 0x5501a0b2, 0xf17b)
			if !bytes.Equal(b[:n], unhex(t, tt.want)) {
				t.Errorf("got  %x\nwant %s", b[:n], tt.want)
			}
			if n, ok := g.openRTP(b[:n], 12, 0x5501a0b2, 0xf17b); !ok || !bytes.Equal(b[:n], plain) {
				t.Error("not opened")
			}
		})
	}
}

func rtp(seq uint16, ssrc uint32, payload int) []byte {
	b := make([]byte, 12+payload, 12+payload+Overhead)
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	for i := range payload {
		b[12+i] = byte(i) + byte(seq)
	}
	return b
}

// report is an SR with one block and an SDES.
func report(ssrc, about uint32) []byte {
	b := make([]byte, 28+24+12)
	b[0], b[1], b[3] = 0x81, 200, 12
	binary.BigEndian.PutUint32(b[4:], ssrc)
	binary.BigEndian.PutUint32(b[28:], about)
	b[52], b[53], b[55] = 0x81, 202, 2
	binary.BigEndian.PutUint32(b[56:], ssrc)
	return b
}

// seal returns a copy of a packet, sealed.
func seal(tb testing.TB, s *Session, plain []byte, rtcp bool) []byte {
	tb.Helper()
	b := append(bytes.Clone(plain), make([]byte, Overhead)...)
	n, ok := s.Seal(b, len(plain), rtcp)
	if !ok {
		tb.Fatalf("not sealed: %x", plain)
	}
	return b[:n]
}

func profile(s Suite) pion.ProtectionProfile {
	return map[Suite]pion.ProtectionProfile{
		AESCM128HMACSHA180: pion.ProtectionProfileAes128CmHmacSha1_80, AESCM128HMACSHA132: pion.ProtectionProfileAes128CmHmacSha1_32,
		AESCM256HMACSHA180: pion.ProtectionProfileAes256CmHmacSha1_80, AESCM256HMACSHA132: pion.ProtectionProfileAes256CmHmacSha1_32,
		AEADAES128GCM: pion.ProtectionProfileAeadAes128Gcm, AEADAES256GCM: pion.ProtectionProfileAeadAes256Gcm,
	}[s]
}

func peer(tb testing.TB, k Key) *pion.Context {
	tb.Helper()
	c, err := pion.CreateContext(k.master, k.salt, profile(k.Suite), pion.SRTPReplayProtection(64), pion.SRTCPReplayProtection(64))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Another implementation understands us, and we it, in every suite, over more than two turns of the sequence number.
func TestAgainstPion(t *testing.T) {
	for _, suite := range Suites() {
		t.Run(suite.String(), func(t *testing.T) {
			ours, theirs := NewKey(suite), NewKey(suite)
			s, in, out := NewSession(ours, theirs), peer(t, ours), peer(t, theirs)
			const begin = 65530
			for i := range 140_000 {
				if i%1000 > 20 && i%65536 > 20 && i%65536 < 65500 && i%16384 != 0 {
					continue // as if lost, but never near 2^15 at once
				}
				plain := rtp(uint16(begin+i), 0xcafe, i%50*4)
				opened, err := in.DecryptRTP(nil, seal(t, s, plain, false), nil)
				if err != nil || !bytes.Equal(opened[12:], plain[12:]) || !bytes.Equal(opened[:8], plain[:8]) {
					t.Fatalf("packet %d: %v", i, err)
				}
				sealed, err := out.EncryptRTP(nil, plain, nil)
				if err != nil {
					t.Fatal(err)
				}
				if n, ok := s.Open(sealed, false); !ok || !bytes.Equal(sealed[:n], plain) {
					t.Fatalf("packet %d of the peer", i)
				}
			}
			for i := range 100 {
				opened, err := in.DecryptRTCP(nil, seal(t, s, report(0xcafe, 5), true), nil)
				if err != nil || len(opened) != 64 || !bytes.Equal(opened[8:56], report(0xcafe, 5)[8:56]) {
					t.Fatalf("report %d: %v", i, err)
				}
				heard := binary.BigEndian.Uint32(opened[4:])
				sealed, err := out.EncryptRTCP(nil, report(7, heard), nil)
				if err != nil {
					t.Fatal(err)
				}
				if n, ok := s.Open(sealed, true); !ok || !bytes.Equal(sealed[:n], report(7, 0xcafe)) {
					t.Fatalf("report %d of the peer: %x", i, sealed)
				}
			}
		})
	}
}

// What is forged, repeated, or from before the window is refused and moves nothing.
func TestReplay(t *testing.T) {
	for _, suite := range Suites() {
		k := NewKey(suite)
		from, to := NewSession(k, Key{}), NewSession(Key{}, k)
		var old [][]byte
		for i := range 200 {
			sealed := seal(t, from, rtp(uint16(65500+i), 1, 20), false)
			forged := bytes.Clone(sealed)
			forged[14] ^= 1
			if _, ok := to.Open(forged, false); ok {
				t.Fatalf("%v: a forged packet", suite)
			}
			old = append(old, bytes.Clone(sealed))
			if _, ok := to.Open(sealed, false); !ok {
				t.Fatalf("%v: packet %d", suite, i)
			}
		}
		for i, b := range old {
			if _, ok := to.Open(bytes.Clone(b), false); ok {
				t.Fatalf("%v: packet %d twice", suite, i)
			}
		}
		sealed := seal(t, from, report(1, 2), true)
		again := bytes.Clone(sealed)
		if _, ok := to.Open(sealed, true); !ok {
			t.Fatalf("%v: report", suite)
		}
		if _, ok := to.Open(again, true); ok {
			t.Fatalf("%v: report twice", suite)
		}
	}
}

// A late packet is taken once, before and after a turn of the sequence number.
func TestReordering(t *testing.T) {
	k := NewKey(AEADAES128GCM)
	from, to := NewSession(k, Key{}), NewSession(Key{}, k)
	random := mathrand.New(mathrand.NewPCG(1, 2))
	var sent [][]byte
	for i := range 8_000 {
		sent = append(sent, seal(t, from, rtp(uint16(60_000+i), 1, 4), false))
	}
	for at := 0; at < len(sent); at += 20 {
		part := sent[at:min(at+20, len(sent))]
		random.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		for _, b := range part {
			if _, ok := to.Open(b, false); !ok {
				t.Fatalf("lost a packet near %d", at)
			}
		}
	}
}

// The index of RFC 3711 §3.3.1 against the obvious one: of all indices with that number the nearest.
func TestEstimate(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(3, 4))
	for range 100_000 {
		highest := random.Uint64N(1 << 20)
		if random.IntN(4) == 0 {
			highest = random.Uint64N(1 << 48)
		}
		off := random.Int64N(1<<16-2) - (1<<15 - 1)
		if int64(highest)+off < 0 || int64(highest)+off >= 1<<48 {
			continue
		}
		want := uint64(int64(highest) + off)
		if got, ok := estimate(highest, uint16(want)); !ok || got != want {
			t.Fatalf("highest %#x, wanted %#x, got %#x, %v", highest, want, got, ok)
		}
	}
}

// After a restart no index comes twice under one key, whatever the sender repeats, the party's stream is understood with
// its roll-over counter, and what it had sent is not taken again.
func TestRestart(t *testing.T) {
	for _, suite := range Suites() {
		ours, theirs := NewKey(suite), NewKey(suite)
		s, phone, in := NewSession(ours, theirs), NewSession(theirs, ours), peer(t, ours)
		used := map[string]bool{}
		send := func(seq int) {
			t.Helper()
			sealed := seal(t, s, rtp(uint16(seq), 9, 20), false)
			id := string(sealed[8:12]) + string(sealed[2:4])
			if seq < 65536 && used[id] {
				t.Fatalf("%v: index of %d twice", suite, seq)
			}
			used[id] = true
			if _, err := in.DecryptRTP(nil, sealed, nil); err != nil {
				t.Fatalf("%v: %d: %v", suite, seq, err)
			}
		}
		var last []byte
		for i := 0; i < 140_000; i += 13 { // more than two turns
			last = seal(t, phone, rtp(uint16(i), 3, 4), false)
			if _, ok := s.Open(bytes.Clone(last), false); !ok {
				t.Fatalf("%v: %d", suite, i)
			}
		}
		for seq := range 300 {
			send(seq)
		}
		if !s.Stale() {
			t.Error("nothing to save")
		}
		raw, err := json.Marshal(s.State())
		if err != nil || s.Stale() {
			t.Fatal(err)
		}
		var st State
		if err := json.Unmarshal(raw, &st); err != nil {
			t.Fatal(err)
		}
		if s, err = Restore(st); err != nil {
			t.Fatal(err)
		}
		for seq := range 300 {
			send(seq)
		}
		if _, ok := s.Open(last, false); ok {
			t.Errorf("%v: a packet of before the restart", suite)
		}
		for i := range 20_000 { // not saved, and lost meanwhile
			last = seal(t, phone, rtp(uint16(140_000+i), 3, 4), false)
		}
		if _, ok := s.Open(last, false); !ok {
			t.Errorf("%v: the roll-over counter is lost", suite)
		}
	}
}

// A source that came around before it was heard first: its packets were lost, came before its key, or were not counted
// when the process died; or it goes on with its key in another call.
func TestHeardLate(t *testing.T) {
	for _, suite := range Suites() {
		k := NewKey(suite)
		phone, s := NewSession(k, Key{}), NewSession(Key{}, k)
		for seq := 65400; seq < 65536+300; seq++ {
			b := seal(t, phone, rtp(uint16(seq), 3, 20), false)
			if seq < 65536+40 { // lost
				continue
			}
			n, ok := s.Open(b, false)
			if !ok || !bytes.Equal(b[12:n], rtp(uint16(seq), 3, 20)[12:]) {
				t.Fatalf("%v: %d not opened", suite, seq)
			}
		}
		long, packets := NewSession(Key{}, k), k.protector(false)
		for index := uint64(3*65536 + 7); index < 4*65536; index += 7000 {
			b := append(rtp(uint16(index), 5, 20), make([]byte, Overhead)...)
			if _, ok := long.Open(b[:packets.sealRTP(b, 12, 32, 5, index)], false); !ok {
				t.Fatalf("%v: %d not opened", suite, index)
			}
		}
		forged := seal(t, NewSession(NewKey(suite), Key{}), rtp(7, 4, 20), false)
		if _, ok := s.Open(forged, false); ok {
			t.Errorf("%v: forged", suite)
		}
	}
}

// A sender that begins anew with the same SSRC is heard after one packet, as a new source.
func TestSenderBeginsAnew(t *testing.T) {
	k := NewKey(AEADAES128GCM)
	s, in := NewSession(k, Key{}), peer(t, k)
	first := seal(t, s, rtp(20_000, 1, 4), false)
	if _, err := in.DecryptRTP(nil, first, nil); err != nil {
		t.Fatal(err)
	}
	b := append(rtp(19_000, 1, 4), make([]byte, Overhead)...)
	if _, ok := s.Seal(b, 16, false); ok {
		t.Error("an old number was sealed")
	}
	second := seal(t, s, rtp(19_001, 1, 4), false)
	if bytes.Equal(first[8:12], second[8:12]) {
		t.Error("same source")
	}
	if _, err := in.DecryptRTP(nil, second, nil); err != nil {
		t.Fatal(err)
	}
}

// The tables stay small whatever comes.
func TestManySources(t *testing.T) {
	k := NewKey(AEADAES128GCM)
	from, to := NewSession(k, Key{}), NewSession(Key{}, k)
	sealed := 0
	for i := range 2 * mostGiven {
		b := append(rtp(1, uint32(i), 4), make([]byte, Overhead)...)
		n, ok := from.Seal(b, 16, false)
		if !ok {
			continue
		}
		sealed++
		if _, ok := to.Open(b[:n], false); !ok {
			t.Fatal("not opened")
		}
	}
	if sealed != mostGiven || len(*from.sealer.sources.Load()) > mostSources || len(*to.opener.sources.Load()) > mostSources {
		t.Errorf("%d sealed", sealed)
	}
}

// A session without a key lets nothing pass.
func TestLocked(t *testing.T) {
	s := NewSession(Key{}, Key{})
	b := append(rtp(1, 1, 4), make([]byte, Overhead)...)
	for _, rtcp := range []bool{false, true} {
		if _, ok := s.Seal(b, 16, rtcp); ok {
			t.Error("sealed")
		}
		if _, ok := s.Open(b, rtcp); ok {
			t.Error("opened")
		}
	}
}

// New keys of one side leave the other side's counters alone.
func TestRekey(t *testing.T) {
	ours, theirs := NewKey(AESCM128HMACSHA180), NewKey(AESCM128HMACSHA180)
	s := NewSession(ours, theirs)
	first := seal(t, s, rtp(1, 1, 4), false)
	again := s.Rekey(ours, NewKey(AEADAES256GCM))
	b := append(rtp(1, 1, 4), make([]byte, Overhead)...)
	if _, ok := again.Seal(b, 16, false); ok {
		t.Error("an index came twice")
	}
	if second := seal(t, again, rtp(2, 1, 4), false); !bytes.Equal(first[8:12], second[8:12]) {
		t.Error("another source without need")
	}
}

func TestMKI(t *testing.T) {
	for _, suite := range Suites() {
		k := NewKey(suite)
		c, err := ParseCrypto(Crypto{1, k}.String() + "|2^20|1:4")
		if err != nil {
			t.Fatal(err)
		}
		from, to := NewSession(k, Key{}), NewSession(Key{}, c.Key)
		tag := suite.parameters().tag
		if suite.parameters().aead {
			tag = 0
		}
		b := seal(t, from, rtp(1, 1, 20), false)
		b = append(b[:len(b)-tag:len(b)-tag], append([]byte{0, 0, 0, 1}, b[len(b)-tag:]...)...)
		if n, ok := to.Open(b, false); !ok || n != 32 {
			t.Errorf("%v: %d, %v", suite, n, ok)
		}
	}
}

func TestCrypto(t *testing.T) {
	key := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, tt := range []struct {
		name, value string
		err         error
	}{
		{"plain", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30), nil},
		{"tag of nine digits", "999999999 AES_CM_128_HMAC_SHA1_32 inline:" + key(30), nil},
		{"lifetime", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + "|2^48", nil},
		{"lifetime as a number", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + "|1048576", nil},
		{"MKI alone", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + "|1:4", nil},
		{"window", "1 AEAD_AES_128_GCM inline:" + key(28) + " WSH=128", nil},
		{"no padding", "1 AEAD_AES_128_GCM inline:" + strings.TrimRight(key(28), "="), nil},
		{"optional parameter", "1 AEAD_AES_256_GCM inline:" + key(44) + " -X=1", nil},
		{"leading zero", "01 AES_CM_128_HMAC_SHA1_80 inline:" + key(30), ErrMalformed},
		{"no key", "1 AES_CM_128_HMAC_SHA1_80", ErrMalformed},
		{"another method", "1 AES_CM_128_HMAC_SHA1_80 uri:x", ErrMalformed},
		{"short key", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(29), ErrMalformed},
		{"lifetime too long", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + "|2^49", ErrMalformed},
		{"MKI too long", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + "|2^20|1:129", ErrMalformed},
		{"empty MKI", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + "|2^20|:4", ErrMalformed},
		{"suite", "1 F8_128_HMAC_SHA1_80 inline:" + key(30), ErrUnsupported},
		{"two keys", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + "|1:1;inline:" + key(30) + "|2:1", ErrUnsupported},
		{"in clear", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + " UNENCRYPTED_SRTP", ErrUnsupported},
		{"derivation rate", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + " KDR=1", ErrUnsupported},
		{"small window", "1 AES_CM_128_HMAC_SHA1_80 inline:" + key(30) + " WSH=63", ErrUnsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseCrypto(tt.value)
			switch {
			case tt.err == nil && err != nil, tt.err != nil && (err == nil || !strings.Contains(err.Error(), tt.err.Error())):
				t.Fatalf("%v", err)
			case tt.err == nil && !strings.HasPrefix(tt.value, c.String()[:len(c.String())-2]):
				t.Errorf("%s", c)
			case err != nil && strings.Contains(err.Error(), "AAAA"):
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
	k := NewKey(AESCM128HMACSHA180)
	if s := fmt.Sprintf("%v %+v %#v", k, k, k); strings.Contains(s, "inline") || len(s) > 80 {
		t.Errorf("prints as %s", s)
	}
}

func FuzzCrypto(f *testing.F) {
	f.Add("1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 WSH=64")
	f.Fuzz(func(t *testing.T, value string) {
		c, err := ParseCrypto(value)
		if err != nil {
			return
		}
		again, err := ParseCrypto(c.String())
		again.Key.mki = c.Key.mki
		if err != nil || again.Tag != c.Tag || !again.Key.Equal(c.Key) {
			t.Fatalf("%q came back as %v, %v", value, again, err)
		}
	})
}

// Foreign bytes are neither opened nor do they make the session fall over, sealed or to be sealed.
func FuzzPackets(f *testing.F) {
	f.Add(rtp(1, 1, 30), uint8(0), false)
	f.Add(report(1, 2), uint8(3), true)
	f.Fuzz(func(t *testing.T, b []byte, n uint8, rtcp bool) {
		k := NewKey(Suites()[int(n)%suites])
		s := NewSession(k, k)
		if _, ok := s.Open(bytes.Clone(b), rtcp); ok {
			t.Fatal("a forgery")
		}
		c := append(bytes.Clone(b), make([]byte, Overhead)...)
		if n, ok := s.Seal(c, len(b), rtcp); ok {
			if n, ok = s.Open(c[:n], rtcp); !ok || n != len(b) {
				t.Fatalf("%d of %d, %v", n, len(b), ok)
			}
		}
	})
}

func TestNoAllocation(t *testing.T) {
	for _, suite := range Suites() {
		k := NewKey(suite)
		from, to := NewSession(k, Key{}), NewSession(Key{}, k)
		plain, control := rtp(0, 1, 160), report(1, 2)
		b, seq := make([]byte, 2048), uint16(0)
		if n := testing.AllocsPerRun(1000, func() {
			seq++
			binary.BigEndian.PutUint16(plain[2:], seq)
			copy(b, plain)
			n, ok := from.Seal(b, len(plain), false)
			if !ok {
				t.Fatal("not sealed")
			}
			if _, ok = to.Open(b[:n], false); !ok {
				t.Fatal("not opened")
			}
			copy(b, control)
			if n, ok = from.Seal(b, len(control), true); !ok {
				t.Fatal("not sealed")
			}
			if _, ok = to.Open(b[:n], true); !ok {
				t.Fatal("not opened")
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations", suite, n)
		}
	}
}

// Beside pion/srtp in one run; `openssl speed` has the ciphers alone.
func BenchmarkSRTP(b *testing.B) {
	for _, suite := range Suites() {
		for _, size := range []int{172, 1200} {
			k := NewKey(suite)
			plain := rtp(0, 1, size-12)
			b.Run(fmt.Sprintf("%v/%d/seal", suite, size), func(b *testing.B) {
				s, buffer, seq := NewSession(k, Key{}), make([]byte, 2048), uint16(0)
				b.ReportAllocs()
				for b.Loop() {
					seq++
					binary.BigEndian.PutUint16(plain[2:], seq)
					copy(buffer, plain)
					if _, ok := s.Seal(buffer, size, false); !ok {
						b.Fatal("not sealed")
					}
				}
			})
			b.Run(fmt.Sprintf("%v/%d/open", suite, size), func(b *testing.B) {
				var sealed [1 << 10][]byte
				from := NewSession(k, Key{})
				for i := range sealed {
					sealed[i] = seal(b, from, rtp(uint16(i), 1, size-12), false)
				}
				to, buffer, i := NewSession(Key{}, k), make([]byte, 2048), 0
				b.ReportAllocs()
				for b.Loop() {
					if i%len(sealed) == 0 {
						to.opener.sources.Store(&[]*heard{}) // the same packets once more
					}
					n := copy(buffer, sealed[i%len(sealed)])
					if _, ok := to.Open(buffer[:n], false); !ok {
						b.Fatal("not opened")
					}
					i++
				}
			})
			b.Run(fmt.Sprintf("%v/%d/pion-seal", suite, size), func(b *testing.B) {
				c, buffer, seq := peer(b, k), make([]byte, 2048), uint16(0)
				b.ReportAllocs()
				for b.Loop() {
					seq++
					binary.BigEndian.PutUint16(plain[2:], seq)
					if _, err := c.EncryptRTP(buffer, plain, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("%v/%d/pion-open", suite, size), func(b *testing.B) {
				var sealed [1 << 10][]byte
				from := NewSession(k, Key{})
				for i := range sealed {
					sealed[i] = seal(b, from, rtp(uint16(i), 1, size-12), false)
				}
				c, err := pion.CreateContext(k.master, k.salt, profile(suite))
				if err != nil {
					b.Fatal(err)
				}
				buffer, i := make([]byte, 2048), 0
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.DecryptRTP(buffer, sealed[i%len(sealed)], nil); err != nil {
						b.Fatal(err)
					}
					i++
				}
			})
		}
	}
}

func aeadOf(key []byte) cipher.AEAD {
	a, err := cipher.NewGCM(newBlock(key))
	if err != nil {
		panic(err)
	}
	return a
}

// Who forges packets of ever new sources has us try a few of them with all roll-over counters, and the others with one; a source
// that has not come around yet is heard among them, one that has when the second is over.
func TestForgedSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKey(AEADAES128GCM)
		phone, s, packets := NewSession(k, Key{}), NewSession(Key{}, k), k.protector(false)
		flood := func() {
			for ssrc := range uint32(4 * mostSearches) {
				forged := append(rtp(7, ssrc, 20), make([]byte, Overhead)...)
				if _, ok := s.Open(forged, false); ok {
					t.Fatal("forged")
				}
			}
		}
		around := func(index uint64) []byte {
			b := append(rtp(uint16(index), 5, 20), make([]byte, Overhead)...)
			return b[:packets.sealRTP(b, 12, 32, 5, index)]
		}
		flood()
		if _, ok := s.Open(seal(t, phone, rtp(9, 4, 20), false), false); !ok {
			t.Error("a new source is not heard in the flood")
		}
		if _, ok := s.Open(around(3<<16|8), false); ok {
			t.Errorf("more than %d searches in a second", mostSearches)
		}
		time.Sleep(time.Second)
		if _, ok := s.Open(around(3<<16|9), false); !ok {
			t.Error("a source that came around is not heard after the flood")
		}
	})
}
