package subscribe

import (
	"maps"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/call"
	"linehall/sip/dialog"
)

// A NOTIFY should fit into one datagram: RFC 3261 §18.1.1 wants 1300 bytes at most where the
// path MTU is not known. A single call in a list that is longer goes alone, as long as it takes an Ethernet frame.
// Streams have no limit but what phones can hold.
const (
	datagram   = 1300
	frame      = 1500 - 48 // without the headers of IPv6 and UDP
	streamBody = 60 << 10
	// headersLeft are the headers of a NOTIFY that come after its body is made: Via, Content-Type and Content-Length.
	headersLeft     = 120 + 44 + 22
	listHeadersLeft = 120 + 115 + 22
)

// request builds a notice's NOTIFY. Its headers are as few as RFC 6665 §8.2 allows.
func (s *Service) request(n *notice) *sip.Request {
	sub := n.sub
	s.mu.Lock()
	d := *sub.dialog
	s.mu.Unlock()
	d.LocalSeq = n.seq - 1
	req := d.Request(sip.NOTIFY)
	req.AppendHeader(&sip.ContactHeader{Address: s.stack.ContactURI(n.flow, sub.resource)})
	event := sub.event
	if sub.eventID != "" {
		event += ";id=" + sub.eventID
	}
	req.AppendHeader(sip.NewHeader("Event", event))
	req.AppendHeader(sip.NewHeader("Subscription-State", n.state))
	if sub.list {
		req.AppendHeader(sip.NewHeader("Require", "eventlist"))
	}
	budget := streamBody
	switch {
	case n.flow.Stream():
	case sub.list:
		budget = datagram - len(req.String()) - listHeadersLeft
	default:
		budget = datagram - len(req.String()) - headersLeft
	}
	kind, body := s.compose(n, budget)
	if n.last && n.asked && len(n.left) > 0 {
		s.goesOn(n)
		req.ReplaceHeader(sip.NewHeader("Subscription-State", n.state))
	}
	if len(body) > 0 {
		req.AppendHeader(sip.NewHeader("Content-Type", kind))
	}
	req.SetBody(body)
	return req
}

// goesOn makes an answer to a single question the first of several: what does not fit into it follows, and only the last
// one ends the subscription (RFC 6665 §4.2.2: the state is told in full).
func (s *Service) goesOn(n *notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.last, n.sub.last = false, false
	n.state = active(s.limits.Patience)
}

// compose makes the body of a notice out of the newest state.
func (s *Service) compose(n *notice, budget int) (kind string, body []byte) {
	if n.sub.list {
		return s.composeList(n, budget)
	}
	switch n.sub.event {
	case eventSummary:
		m, _ := s.o.Mailboxes.Messages(n.sub.resource)
		return summaryType, summary("sip:"+n.sub.resource+"@"+s.stack.Domain(), m)
	case eventFeatures:
		settings, _ := s.o.Features.Settings(n.sub.resource)
		return writeFeatures(n.sub.resource, settings)
	}
	body, known, rest := s.part(n, n.sub.resource, budget)
	n.after = map[string]seenLamp{n.sub.resource: known}
	if rest {
		n.left = []string{n.sub.resource}
	}
	return s.partType(n.sub.event), body
}

func (s *Service) partType(event string) string {
	if event == eventPresence {
		return pidfType
	}
	return dialogInfoType
}

// part is the document of one number: its own dialogs and those of its members. A number that
// is gone meanwhile has none, its lamp is dark. What is too much for the budget is told by the next NOTIFY.
func (s *Service) part(n *notice, number string, budget int) (body []byte, known seenLamp, rest bool) {
	dialogs := s.board.dialogs(nil, number)
	members, _ := s.membersOf(number)
	for _, m := range members {
		if m != number {
			dialogs = s.board.dialogs(dialogs, m)
		}
	}
	var d document
	if n.sub.event == eventPresence {
		writePresence(&d, "sip:"+number+"@"+s.stack.Domain(), s.presenceOf(number, dialogs))
		return d.b, seenLamp{}, false
	}
	before, told := n.before[number]
	l := lamp{domain: s.stack.Domain(), number: number, version: n.version, dialogs: dialogs, before: before.dialogs, full: true}
	d.b = make([]byte, 0, 256+512*len(dialogs))
	l.write(&d)
	if len(d.b) <= budget {
		return d.b, seenLamp{version: l.version, dialogs: seen(dialogs)}, false
	}
	// Many dialogs of a group: only what has changed, and not all of it at once.
	if l.full, d.b = n.full || !told || before.stale, d.b[:0]; !l.full {
		l.version = before.version + 1 // RFC 4235 §4.3: after a gap the watcher would ask for everything
	}
	known.version = l.version
	known.dialogs, rest = l.writeWithin(&d, budget, budget+frame-datagram)
	return d.b, known, rest
}

func (s *Service) presenceOf(number string, dialogs []call.DialogInfo) *presenceState {
	settings, _ := s.o.Features.Settings(number)
	return &presenceState{
		Registered: len(s.o.Locations.Lookup(s.aor(number))) > 0, DoNotDisturb: settings.DoNotDisturb, Dialogs: dialogs, Published: s.publishedOf(number),
	}
}

// composeList makes a body for several numbers, of at most so many bytes, and notes what did not fit.
func (s *Service) composeList(n *notice, budget int) (kind string, body []byte) {
	l := listDocument{domain: s.stack.Domain(), list: n.sub.resource, version: n.version, full: n.full, partType: s.partType(n.sub.event)}
	n.after = maps.Clone(n.before)
	if n.after == nil {
		n.after = map[string]seenLamp{}
	}
	used, names := l.frame(), map[string]int{}
	if n.full {
		all := 0
		for _, number := range n.numbers {
			names[number] = l.cost(listPart{number: number})
			all += names[number]
		}
		if used+all > budget { // the list grows, see list.go
			clear(names)
			l.full = len(n.before) != len(n.numbers) || slices.ContainsFunc(n.numbers, func(number string) bool { _, known := n.before[number]; return !known })
		} else {
			used += all
		}
	}
	var again []string // of whom there is more to tell
	for i, number := range n.numbers {
		doc, known, rest := s.part(n, number, budget-l.frame()-l.cost(listPart{number: number, body: []byte{}}))
		p := listPart{number, doc}
		cost := l.cost(p) - names[number]
		if (i > 0 || len(names) > 0) && used+cost > budget {
			n.left = n.numbers[i:]
			break
		}
		used += cost
		n.after[number] = known
		l.parts = append(l.parts, p)
		if rest {
			again = append(again, number)
		}
	}
	for _, number := range n.left {
		if names[number] > 0 {
			l.parts = append(l.parts, listPart{number: number})
		}
		if known, told := n.after[number]; told && n.full {
			known.stale = true
			n.after[number] = known
		}
	}
	n.left = append(again, n.left...)
	return l.write()
}

// membersOf are the extensions whose dialogs are a number's beside its own; none for an
// extension.
func (s *Service) membersOf(number string) (members []string, known bool) {
	if _, ok := s.o.Directory.ByExtension(number); ok {
		return nil, true
	}
	return s.o.Numbers.Members(number)
}

// lampsOf are the numbers that a subscription shows. ok is false when there is nothing to watch.
func (s *Service) lampsOf(event, owner, resource string, list bool) (shown lamps, ok bool) {
	numbers := []string{resource}
	if list {
		numbers = s.o.Numbers.Lamps(owner)
	}
	for _, number := range numbers {
		members, known := s.membersOf(number)
		if !known {
			continue
		}
		shown.numbers = append(shown.numbers, number)
		if len(members) > 0 && (event == eventDialog || event == eventPresence) {
			shown.groups = append(shown.groups, number)
			shown.members = append(shown.members, members...)
		}
	}
	return shown, list || len(shown.numbers) > 0
}

// newDialog is the dialog that a SUBSCRIBE opens.
func newDialog(req *sip.Request, localTag string) (*dialog.Dialog, error) {
	d, err := dialog.Accept(req, localTag)
	if err != nil {
		return nil, err //nolint:wrapcheck // for the answer
	}
	d.Confirmed = true
	if strings.HasPrefix(d.Local.URI, "sip:") {
		d.Local.Display = "" // what the phone calls the number is no news to it
	}
	return d, nil
}
