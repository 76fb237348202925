package voice

import (
	"fmt"

	"github.com/pion/srtp/v3"
)

// The master key and salt of AES_CM_128_HMAC_SHA1_80 (RFC 4568 §6.2), the suite that a phone here talks.
const (
	keyLength  = 16
	saltLength = 14
	// KeyLength is the length of both together.
	KeyLength = keyLength + saltLength
)

// protection is SRTP on a stream (RFC 3711): one key for what leaves, another one for what comes.
type protection struct {
	seal, open     *srtp.Context
	sealed, opened []byte // reused; the stream's turns are the only users
}

func newProtection(own, theirs string) (*protection, error) {
	if len(own) != KeyLength || len(theirs) != KeyLength {
		return nil, fmt.Errorf("voice: keys of %d and %d octets", len(own), len(theirs))
	}
	p := &protection{}
	for _, k := range []struct {
		key  string
		into **srtp.Context
	}{{own, &p.seal}, {theirs, &p.open}} {
		var err error
		if *k.into, err = srtp.CreateContext([]byte(k.key[:keyLength]), []byte(k.key[keyLength:]), srtp.ProtectionProfileAes128CmHmacSha1_80); err != nil {
			return nil, fmt.Errorf("voice: %w", err)
		}
	}
	return p, nil
}

// out seals an RTP packet; nil protection leaves it as it is. The result is valid until the next call.
func (p *protection) out(packet []byte) []byte {
	if p == nil {
		return packet
	}
	sealed, err := p.seal.EncryptRTP(p.sealed, packet, nil)
	if err != nil {
		return nil // not sent: it is lost
	}
	p.sealed = sealed
	return sealed
}

// in opens an RTP packet; false for what is not authentic.
func (p *protection) in(packet []byte) ([]byte, bool) {
	if p == nil {
		return packet, true
	}
	opened, err := p.open.DecryptRTP(p.opened, packet, nil)
	if err != nil {
		return nil, false
	}
	p.opened = opened
	return opened, true
}

// outReport and inReport are out and in for RTCP.
func (p *protection) outReport(packet []byte) []byte {
	if p == nil {
		return packet
	}
	sealed, err := p.seal.EncryptRTCP(nil, packet, nil)
	if err != nil {
		return nil
	}
	return sealed
}

func (p *protection) inReport(packet []byte) ([]byte, bool) {
	if p == nil {
		return packet, true
	}
	opened, err := p.open.DecryptRTCP(nil, packet, nil)
	return opened, err == nil
}
