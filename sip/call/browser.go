package call

import (
	"errors"
	"strings"

	"linehall/media/anchor"
	"linehall/media/sdp"
	"linehall/sip/stack"
)

// errNoGateway: one side's media is WebRTC's and the other side's is not, or the two browsers are in different sites.
// Media between the two worlds is a gateway's business (design 3.1), which does not exist yet; a relay that hides the
// candidates of ICE (media/anchor) would leave both browsers without sound.
var errNoGateway = errors.New("browsers and desk phones cannot exchange media without a gateway")

// passable says whether a description may go from one phone to another over a path as it is. Browsers speak DTLS-SRTP
// with ICE and nothing else (RFC 8827 §6.5, RFC 8834 §4.1), desk phones do not.
func passable(body []byte, to stack.Flow, kind anchor.Kind) error {
	doc, err := sdp.Parse(body)
	if err != nil {
		return err
	}
	web := false
	for _, m := range doc.Media() {
		web = web || strings.Contains(strings.ToUpper(m.Proto()), "TLS/RTP/SAVP")
	}
	if web != to.Web() || web && kind != anchor.Direct {
		return errNoGateway
	}
	return nil
}
