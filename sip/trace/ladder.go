package trace

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// Ladder shows a call as arrows between us and everybody who took part.
type Ladder struct {
	Parties []Party
	Steps   []Step
}

// Party is one end of a flow, in the order of appearance.
type Party struct {
	Name      string // extension or number, if the messages say it
	Address   netip.AddrPort
	Transport string
}

// Step is one message between us and a party.
type Step struct {
	At       time.Time
	Party    int  // index into Parties
	In       bool // from the party to us
	Summary  string
	Repeated bool // the same message was there before: a retransmission
	Text     string
}

// Ladder returns the ladder of a call; ErrUnknown when nothing of it is kept.
func (b *Book) Ladder(ctx context.Context, id string) (Ladder, error) {
	messages, err := b.Messages(ctx, id)
	if err != nil {
		return Ladder{}, err
	}
	return ladderOf(messages), nil
}

func ladderOf(messages []Message) Ladder {
	type end struct {
		address   netip.AddrPort
		transport string
	}
	var l Ladder
	index := map[end]int{}
	seen := map[string]bool{}
	for _, m := range messages {
		key := end{m.Flow.Remote, m.Flow.Transport}
		at, known := index[key]
		if !known {
			at = len(l.Parties)
			index[key] = at
			l.Parties = append(l.Parties, Party{Address: m.Flow.Remote, Transport: m.Flow.Transport})
		}
		if p := &l.Parties[at]; p.Name == "" {
			p.Name = nameOf(m)
		}
		again := direction(m.In) + "\x00" + m.Flow.Remote.String() + "\x00" + string(m.Text)
		l.Steps = append(l.Steps, Step{
			At: m.At, Party: at, In: m.In, Summary: summary(m), Repeated: seen[again], Text: strings.ToValidUTF8(string(m.Text), "?"),
		})
		seen[again] = true
	}
	return l
}

func direction(in bool) string {
	if in {
		return "<"
	}
	return ">"
}

// nameOf guesses from one message who the party is: who sends a request stands in its From, who gets one in its To.
func nameOf(m Message) string {
	request := !strings.HasPrefix(m.StartLine(), "SIP/2.0 ")
	from, to := user(m.header("from", "f")), user(m.header("to", "t"))
	if request == m.In {
		return from
	}
	return to
}

// summary is the start line in short, with what stands in the body.
func summary(m Message) string {
	line := m.StartLine()
	if rest, response := strings.CutPrefix(line, "SIP/2.0 "); response {
		if _, method, ok := strings.Cut(m.header("cseq"), " "); ok {
			rest += " (" + strings.TrimSpace(method) + ")"
		}
		line = rest
	} else {
		method, uri, _ := strings.Cut(strings.TrimSuffix(line, " SIP/2.0"), " ")
		if name := user(uri); name != "" {
			uri = name // the domain is ours, or an address that the ladder shows anyway
		}
		line = method + " " + uri
	}
	if kind := m.header("content-type", "c"); kind != "" && m.header("content-length", "l") != "0" {
		kind, _, _ = strings.Cut(kind, ";")
		line += " [" + strings.TrimPrefix(strings.TrimSpace(kind), "application/") + "]"
	}
	return line
}
