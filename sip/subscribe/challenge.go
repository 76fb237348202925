package subscribe

import (
	"context"
	"log/slog"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/digest"
	"linehall/sip/stack"
)

// answers are the credentials that may answer a phone's challenge of a NOTIFY (RFC 3261 §22.2), best
// first: with the password that the phone has, and with the one that it is about to get.
func (s *Service) answers(ctx context.Context, owner string, req *sip.Request, res *sip.Response) (header string, values []string) {
	header, question := "Authorization", "WWW-Authenticate"
	if res.StatusCode == sip.StatusProxyAuthRequired {
		header, question = "Proxy-Authorization", "Proxy-Authenticate"
	}
	terminal, known := s.o.Directory.ByExtension(owner)
	password, err := s.o.Directory.Password(ctx, owner)
	if !known || err != nil {
		return header, nil
	}
	user := terminal.AuthUser
	if user == "" {
		user = terminal.Extension
	}
	passwords := []string{password}
	if s.o.Next != nil {
		if next, waits := s.o.Next(owner); waits {
			passwords = append(passwords, next)
		}
	}
	for _, h := range res.GetHeaders(question) {
		for _, password := range passwords {
			value, err := digest.Answer(h.Value(), string(req.Method), req.Recipient.String(), user, password, req.Body())
			if err != nil {
				break // of an algorithm that we do not have; the next challenge may be of another
			}
			values = append(values, value)
		}
		if len(values) > 0 {
			return header, values
		}
	}
	s.log.Warn("challenge of a phone not understood", slog.String(observe.Extension, owner))
	return header, nil
}

// repeat sends a challenged request again with credentials and the next CSeq.
func (s *Service) repeat(ctx context.Context, req *sip.Request, flow stack.Flow, seq uint32, header, value string) (*stack.ClientTx, error) {
	next := req.Clone() // the stack keeps the first one
	for next.RemoveHeader("Via") {
	}
	for next.RemoveHeader(header) {
	}
	next.ReplaceHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: sip.NOTIFY})
	next.AppendHeader(sip.NewHeader(header, value))
	return s.stack.Request(ctx, next, flow) //nolint:wrapcheck // names what it could not send
}
