package phone

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

var errNoChallenge = errors.New("challenged without a usable Digest challenge")

// isChallenge reports whether an answer asks for credentials.
func isChallenge(res *sip.Response) bool {
	return res.StatusCode == sip.StatusUnauthorized || res.StatusCode == sip.StatusProxyAuthRequired
}

// challengeOf reads the first Digest challenge whose algorithm we know (RFC 8760 §2.4: in the server's order).
func challengeOf(res *sip.Response) (chal *digest.Challenge, proxy bool, err error) {
	name := "WWW-Authenticate"
	if proxy = res.StatusCode == sip.StatusProxyAuthRequired; proxy {
		name = "Proxy-Authenticate"
	}
	for _, h := range res.GetHeaders(name) {
		chal, err := digest.ParseChallenge(h.Value())
		if err != nil {
			continue
		}
		chal.Algorithm = strings.ToUpper(chal.Algorithm) // RFC 3261 §25.1: tokens compare without case
		if digest.CanDigest(chal) {
			return chal, proxy, nil
		}
	}
	return nil, proxy, errNoChallenge
}

// stale reports whether a challenge only means that the nonce had become old (RFC 7616 §3.3).
func stale(res *sip.Response) bool {
	chal, _, err := challengeOf(res)
	return err == nil && chal.Stale
}

// authorize puts credentials for a challenge on the request, replacing older ones.
func (p *Phone) authorize(req *sip.Request, chal *digest.Challenge, proxy bool, count int) error {
	cred, err := digest.Digest(chal, digest.Options{
		Method: req.Method.String(), URI: req.Recipient.String(), Username: p.cfg.AuthUser, Password: p.cfg.Password, Count: count,
	})
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	name := "Authorization"
	if proxy {
		name = "Proxy-Authorization"
	}
	req.RemoveHeader(name)
	req.AppendHeader(sip.NewHeader(name, cred.String()))
	return nil
}

// again turns a challenged request into its successor: same identity, next CSeq, new branch (RFC 3261 §22.2).
func (p *Phone) again(req *sip.Request) *sip.Request {
	next := req.Clone()
	next.RemoveHeader("Via")
	p.addVia(next)
	p.route(next)
	next.ReplaceHeader(&sip.CSeqHeader{SeqNo: req.CSeq().SeqNo + 1, MethodName: req.Method})
	next.SetBody(req.Body())
	return next
}
