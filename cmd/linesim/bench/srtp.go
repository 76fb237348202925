package bench

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/srtp/v3"
)

// The srtp bench is the relay bench with SRTP on one leg of each call (SDES, AES_CM_128_HMAC_SHA1_80) and RTP on the other:
// the server opens what comes from one party and seals what goes to it.

const (
	cryptoSuite = "AES_CM_128_HMAC_SHA1_80"
	cryptoKey   = 16 // octets, and the salt
	cryptoSalt  = 14
)

var errCrypto = errors.New("no key in an answer")

// secured is a description of SRTP with a key.
func secured(at netip.AddrPort, key []byte) string {
	return strings.Replace(audio(at), "RTP/AVP", "RTP/SAVP", 1) + "a=crypto:1 " + cryptoSuite + " inline:" + base64.StdEncoding.EncodeToString(key) + "\r\n"
}

// cryptoOf is the key of a description.
func cryptoOf(sdp string) ([]byte, error) {
	for line := range strings.SplitSeq(sdp, "\r\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "a=crypto:") || fields[1] != cryptoSuite {
			continue
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(fields[2], "inline:"), "|")
		key, err := base64.StdEncoding.DecodeString(text)
		if err == nil && len(key) == cryptoKey+cryptoSalt {
			return key, nil
		}
	}
	return nil, errCrypto
}

// secure has a party talk SRTP, with a key for each direction.
func (g *generator) secure(i int, own, theirs []byte) (err error) {
	p := &g.parties[i]
	p.seal, err = srtp.CreateContext(own[:cryptoKey], own[cryptoKey:], srtp.ProtectionProfileAes128CmHmacSha1_80)
	if err != nil {
		return fmt.Errorf("%w: %w", errGenerator, err)
	}
	p.open, err = srtp.CreateContext(theirs[:cryptoKey], theirs[cryptoKey:], srtp.ProtectionProfileAes128CmHmacSha1_80)
	if err != nil {
		return fmt.Errorf("%w: %w", errGenerator, err)
	}
	return nil
}

func newCrypto() []byte {
	key := make([]byte, cryptoKey+cryptoSalt)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

// agentCalls sets up real calls by SIP between two sites; secure: between a phone that has SRTP only and one that has none.
func (l *linehall) agentCalls(n *network, secure bool) relayPath {
	near, far := l.accounts["hq"], l.accounts["branch1"]
	return func(ctx context.Context, g *generator) (undo func(), err error) {
		calls := len(g.parties) / 2
		if calls > len(near) || calls > len(far) {
			return nil, fmt.Errorf("%d calls need as many accounts in each of two sites: %w", calls, errRejected)
		}
		life, off := context.WithCancel(context.WithoutCancel(ctx))
		defer func() {
			if err != nil {
				off()
			}
		}()
		caller, err := n.newAgent(life, g.parties[0].local.Addr(), l.sip)
		if err != nil {
			return nil, err
		}
		callee, err := n.newAgent(life, g.parties[1].local.Addr(), l.sip)
		if err != nil {
			return nil, err
		}
		number := map[string]int{}
		for i := range calls {
			number[far[i].User] = i
		}
		answered := make(chan netip.AddrPort, calls) // where a callee sends
		callee.answer = func(m *message) []byte {
			user, _, _ := strings.Cut(strings.TrimPrefix(m.uri, "sip:"), "@")
			to, err := audioAddress(m.body)
			if err != nil || strings.Contains(m.body, "RTP/SAVP") {
				return respond(m, "488 Not Acceptable Here", "r", "", "")
			}
			answered <- to
			return respond(m, "200 OK", "c", "Contact: <sip:"+user+"@"+callee.local.String()+">\r\nContent-Type: application/sdp\r\n", audio(g.parties[2*number[user]+1].local))
		}
		for i := range calls {
			if err := errors.Join(caller.register(ctx, near[i]), callee.register(ctx, far[i])); err != nil {
				return nil, err
			}
			own := newCrypto()
			offer := audio(g.parties[2*i].local)
			if secure {
				offer = secured(g.parties[2*i].local, own)
			}
			o, m, credentials, err := caller.invite(ctx, near[i], far[i].User, offer, nil)
			if err != nil {
				return nil, fmt.Errorf("call %d: %w", i, err)
			}
			caller.send(outgoing{method: "ACK", uri: address(m.get("contact")), from: o.from, to: m.get("to"), callID: o.callID, seq: o.seq, extra: credentials})
			to, err := audioAddress(m.body)
			if err != nil {
				return nil, err
			}
			if secure {
				theirs, err := cryptoOf(m.body)
				if err == nil {
					err = g.secure(2*i, own, theirs)
				}
				if err != nil {
					return nil, err
				}
			}
			g.aim(2*i, to)
			g.aim(2*i+1, <-answered)
		}
		return off, nil // the calls end with the server
	}
}

// securedRelay is the appliance's.
func (l *linehall) securedRelay() RelayTarget {
	t := l.relay()
	t.path = l.agentCalls(nil, true)
	return t
}

// securedRTPEngine relays through rtpengine in the same way.
func securedRTPEngine(t RelayTarget) RelayTarget {
	control := t.control
	t.path = func(_ context.Context, g *generator) (undo func(), err error) {
		n, err := t.network.dialNG(control)
		if err != nil {
			return nil, err
		}
		run := unique()
		for i := 0; i < len(g.parties); i += 2 {
			if err := n.secure(g, i, run+"-"+strconv.Itoa(i)); err != nil {
				return nil, errors.Join(err, n.conn.Close())
			}
		}
		return func() { _ = n.conn.Close() }, nil // it is stopped afterwards
	}
	return t
}

func (n *ng) secure(g *generator, i int, id string) error {
	own := newCrypto()
	offer, err := n.ask("call-id", id, "command", "offer", "from-tag", "a", "transport-protocol", "RTP/AVP", "sdp", secured(g.parties[i].local, own))
	if err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	answer, err := n.ask("call-id", id, "command", "answer", "from-tag", "a", "sdp", audio(g.parties[i+1].local), "to-tag", "b")
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	farSends, err := audioAddress(offer["sdp"])
	if err != nil {
		return err
	}
	nearSends, err := audioAddress(answer["sdp"])
	if err != nil {
		return err
	}
	theirs, err := cryptoOf(answer["sdp"])
	if err != nil {
		return err
	}
	g.aim(i, nearSends)
	g.aim(i+1, farSends)
	return g.secure(i, own, theirs)
}
