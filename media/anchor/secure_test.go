package anchor_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	pion "github.com/pion/srtp/v3"

	"linehall/media/anchor"
	"linehall/media/line"
)

// suite is a crypto suite as another implementation knows it.
type suite struct {
	name      string
	profile   pion.ProtectionProfile
	key, salt int
}

var suites = []suite{
	{"AES_CM_128_HMAC_SHA1_80", pion.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
	{"AES_CM_128_HMAC_SHA1_32", pion.ProtectionProfileAes128CmHmacSha1_32, 16, 14},
	{"AES_256_CM_HMAC_SHA1_80", pion.ProtectionProfileAes256CmHmacSha1_80, 32, 14},
	{"AES_256_CM_HMAC_SHA1_32", pion.ProtectionProfileAes256CmHmacSha1_32, 32, 14},
	{"AEAD_AES_128_GCM", pion.ProtectionProfileAeadAes128Gcm, 16, 12},
	{"AEAD_AES_256_GCM", pion.ProtectionProfileAeadAes256Gcm, 32, 12},
}

// securedPhone talks SRTP of one suite, or RTP without one.
type securedPhone struct {
	*phone
	suite      suite
	key        []byte
	seal, open *pion.Context
	heard      map[string]bool // SSRC and sequence number, under one key and within half a turn
}

func (p *phone) secured(s suite) *securedPhone {
	p.t.Helper()
	x := &securedPhone{phone: p, suite: s, heard: map[string]bool{}}
	if s.name != "" {
		x.key = bytes.Repeat([]byte{byte(p.port)}, s.key+s.salt)
		x.seal = x.context(x.key)
	}
	return x
}

func (x *securedPhone) context(key []byte) *pion.Context {
	x.t.Helper()
	c, err := pion.CreateContext(key[:x.suite.key], key[x.suite.key:], x.suite.profile)
	if err != nil {
		x.t.Fatal(err)
	}
	return c
}

func (x *securedPhone) body() []byte {
	if x.seal == nil {
		return x.phone.body("8")
	}
	line := "a=crypto:4 " + x.suite.name + " inline:" + base64.StdEncoding.EncodeToString(x.key)
	return bytes.Replace(x.phone.body("8", line), []byte("RTP/AVP"), []byte("RTP/SAVP"), 1)
}

// takes learns the key of ours that a description brings, and takes its tag and suite for an answer.
func (x *securedPhone) takes(body []byte) (answer []byte) {
	x.t.Helper()
	if x.seal == nil {
		if bytes.Contains(body, []byte("crypto")) || bytes.Contains(body, []byte("SAVP")) {
			x.t.Fatalf("keys for a phone without:\n%s", body)
		}
		return x.body()
	}
	for l := range bytes.Lines(body) {
		var tag int
		var name, key string
		if n, _ := fmt.Sscanf(string(l), "a=crypto:%d %s inline:%s", &tag, &name, &key); n != 3 || name != x.suite.name {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(key)
		if err != nil {
			x.t.Fatal(err)
		}
		x.open = x.context(raw)
		return bytes.Replace(x.body(), []byte("crypto:4 "), fmt.Appendf(nil, "crypto:%d ", tag), 1)
	}
	x.t.Fatalf("no key of %s in\n%s", x.suite.name, body)
	return nil
}

// says sends a packet that holds a number and returns it as it went out.
func (x *securedPhone) says(to []byte, number uint64) []byte {
	x.t.Helper()
	x.seq++
	b := make([]byte, 172)
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint16(b[2:], x.seq)
	binary.BigEndian.PutUint32(b[4:], uint32(x.seq)*160)
	binary.BigEndian.PutUint32(b[8:], uint32(x.port))
	binary.BigEndian.PutUint64(b[12:], number)
	if x.seal != nil {
		var err error
		if b, err = x.seal.EncryptRTP(nil, b, nil); err != nil {
			x.t.Fatal(err)
		}
	}
	x.sends(to, b)
	return b
}

func (x *securedPhone) sends(to, b []byte) {
	x.t.Helper()
	if _, err := x.conn.WriteToUDPAddrPort(b, target(x.t, to)); err != nil {
		x.t.Fatal(err)
	}
}

// understands takes the next packet; it holds the number.
func (x *securedPhone) understands(number uint64) {
	x.t.Helper()
	b := x.listen(15 * time.Second)
	if b == nil {
		x.t.Fatalf("%s heard nothing, want %d", x.suite.name, number)
	}
	if x.open != nil {
		id := string(b[8:12]) + string(b[2:4])
		if x.heard[id] {
			x.t.Fatalf("%s: an index twice", x.suite.name)
		}
		x.heard[id] = true
		plain, err := x.open.DecryptRTP(nil, b, nil)
		if err != nil {
			x.t.Fatalf("%s: %v", x.suite.name, err)
		}
		b = plain
	}
	if len(b) != 172 || binary.BigEndian.Uint64(b[12:]) != number {
		x.t.Fatalf("%s: got %x", x.suite.name, b[:24])
	}
}

// Each suite, against another one or none: both phones hear each other, across a turn of the sequence numbers and a crash that
// takes what came since the state was saved. No index comes twice under a key of ours, and what was heard is not taken again.
func TestSRTPBetweenUnequalPhones(t *testing.T) {
	t.Parallel()
	for i, s := range suites {
		for _, other := range []suite{suites[(i+1)%len(suites)], {}} {
			t.Run(s.name+" "+other.name, func(t *testing.T) {
				o := newOffice(t)
				near, far := newPhone(t, "127.0.1.1").secured(s), newPhone(t, "127.0.2.1").secured(other)
				near.seq, far.seq = 65400, 65450
				c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, near.party("branch1"))
				p := c.Branch("callee", far.party("branch2"))
				how := anchor.Clear
				if other.name != "" {
					how = anchor.Keyed
				}
				p.Terminate(anchor.Callee, how)
				toFar := must(t)(p.Offer(anchor.Caller, near.body()))
				toNear := must(t)(p.Answer(anchor.Callee, far.takes(toFar)))
				near.takes(toNear)
				number := uint64(0)
				talk := func(packets int) (last []byte) {
					t.Helper()
					for range packets {
						number++
						last = near.says(toNear, number)
						far.understands(number)
						far.says(toFar, ^number)
						near.understands(^number)
					}
					return last
				}
				talk(100)
				state, err := p.State()
				if err != nil {
					t.Fatal(err)
				}
				last := talk(100)
				c.Close()

				back, _, err := o.anchor.Restore(line.Holder{Class: line.Voice, Name: "call"}, state)
				if err != nil {
					t.Fatal(err)
				}
				defer back.Close()
				talk(100)
				near.sends(toNear, last) // again
				if b := far.listen(30 * time.Millisecond); b != nil {
					t.Errorf("heard again: %x", b[:12])
				}
				talk(1)
			})
		}
	}
}
