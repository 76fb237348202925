package subscribe

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/sip/stack"
)

// published is one event state of RFC 3903: what one phone of an extension says about it.
type published struct {
	etag    string
	doc     pidf
	expires time.Time
}

// ServePublish is the handler of PUBLISH.
func (s *Service) ServePublish(ctx context.Context, req *stack.Request) {
	event := eventOf(req)
	switch {
	case req.InDialog():
		s.respond(req, s.refusal(req, sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist"))
		return
	case event != eventPresence && event != eventQuality:
		s.respond(req, s.badEvent(req))
		return
	}
	from, challenge := s.o.Auth.Check(req)
	if challenge != nil {
		s.respond(req, challenge)
		return
	}
	if event == eventQuality {
		s.respond(req, s.takeReport(ctx, req, from))
		return
	}
	s.respond(req, s.publish(req, from))
}

// ServeNotify is the handler of NOTIFY outside of dialogs: quality reports of older phones; the
// rest (keep-alive) is the stack's.
func (s *Service) ServeNotify(ctx context.Context, req *stack.Request) {
	if eventOf(req) != eventQuality {
		s.stack.ServeNotify(ctx, req)
		return
	}
	from, res := s.o.Auth.Check(req)
	if res == nil {
		res = s.takeReport(ctx, req, from)
	}
	s.respond(req, res)
}

func eventOf(req *stack.Request) string {
	h := req.GetHeader("Event")
	if h == nil {
		return ""
	}
	name, _, _ := strings.Cut(h.Value(), ";")
	return strings.ToLower(strings.TrimSpace(name))
}

// takeReport stores a quality report. A report is no state: it has no lifetime and nothing to
// match an entity tag with, but phones that were given none by a 200 send no further reports.
func (s *Service) takeReport(ctx context.Context, req *stack.Request, from directory.Terminal) *sip.Response {
	if kind := contentType(req); kind != qualityType {
		res := s.refusal(req, sip.StatusUnsupportedMediaType, "Unsupported Media Type")
		res.AppendHeader(sip.NewHeader("Accept", qualityType))
		return res
	}
	r, err := parseReport(req.Body())
	if err != nil {
		s.metrics.reports.WithLabelValues("unreadable").Inc()
		return s.refusal(req, sip.StatusBadRequest, "Bad Report")
	}
	place := s.siteOf(req.Flow, from.Site)
	call, known := s.board.callOf(r.CallID)
	s.metrics.report(r, place, known)
	if err := s.o.Quality.Report(ctx, call, from.Extension, place, r); err != nil {
		s.log.Error("quality report not stored", slog.String(observe.Extension, from.Extension), slog.Any(observe.Err, err))
	}
	res := s.stack.NewResponse(req, sip.StatusOK, "OK")
	if req.Method == sip.PUBLISH {
		res.AppendHeader(sip.NewHeader("SIP-ETag", stack.NewTag()))
		res.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(int(s.limits.MaxExpires/time.Second))))
	}
	return res
}

// publish follows RFC 3903 §6: initial, refresh, modify, remove.
func (s *Service) publish(req *stack.Request, from directory.Terminal) *sip.Response {
	if req.Recipient.User != from.Extension || !s.ours(req.Recipient.Host) {
		return s.refusal(req, sip.StatusForbidden, "Presence Is Not Yours")
	}
	w, refusal := s.parseWish(req)
	if refusal != nil {
		return refusal
	}
	if w.brief {
		return s.tooBrief(req)
	}
	match := ""
	if h := req.GetHeader("SIP-If-Match"); h != nil {
		match = strings.TrimSpace(h.Value())
	}
	next := published{etag: stack.NewTag(), expires: time.Now().Add(w.expires)}
	fresh := len(req.Body()) > 0 && w.expires > 0
	switch {
	case fresh && contentType(req) != pidfType:
		res := s.refusal(req, sip.StatusUnsupportedMediaType, "Unsupported Media Type")
		res.AppendHeader(sip.NewHeader("Accept", pidfType))
		return res
	case fresh:
		doc, err := parsePIDF(req.Body())
		if err != nil {
			return s.refusal(req, sip.StatusBadRequest, "Bad Presence Document")
		}
		next.doc = doc
	case match == "":
		return s.refusal(req, sip.StatusBadRequest, "Nothing To Publish")
	}
	if !s.keep(from.Extension, match, next, fresh, w.expires == 0) {
		return s.refusal(req, 412, "Conditional Request Failed")
	}
	s.board.mark(from.Extension, aspectPresence)
	res := s.stack.NewResponse(req, sip.StatusOK, "OK")
	res.AppendHeader(sip.NewHeader("SIP-ETag", next.etag))
	res.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(int(w.expires/time.Second))))
	return res
}

// keep replaces, adds or removes a document; false: nothing has that entity tag. Beyond the
// limit the oldest one goes: its phone publishes again at 412.
func (s *Service) keep(extension, match string, next published, fresh, remove bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.alive(extension, time.Now()))
	at := slices.IndexFunc(list, func(p published) bool { return p.etag == match })
	if match != "" && at < 0 {
		return false
	}
	if at >= 0 {
		if !fresh {
			next.doc = list[at].doc
		}
		list = slices.Delete(list, at, at+1)
	}
	if !remove {
		if len(list) >= s.limits.Published {
			list = list[1:]
		}
		list = append(list, next)
	}
	if len(list) == 0 {
		delete(s.presence, extension)
	} else {
		s.presence[extension] = list
	}
	return true
}

// alive are the documents of an extension that have not expired; mu is held.
func (s *Service) alive(extension string, now time.Time) []published {
	return slices.DeleteFunc(slices.Clone(s.presence[extension]), func(p published) bool { return !p.expires.After(now) })
}

func (s *Service) publishedOf(extension string) []pidf {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []pidf
	for _, p := range s.alive(extension, time.Now()) {
		out = append(out, p.doc)
	}
	return out
}

// expirePublished forgets documents whose time is over and says when to look again.
func (s *Service) expirePublished(now time.Time) (next time.Duration) {
	next = time.Hour
	s.mu.Lock()
	defer s.mu.Unlock()
	for extension, list := range s.presence {
		live := s.alive(extension, now)
		if len(live) != len(list) {
			s.tell(topic{eventPresence, extension}, now)
		}
		if len(live) == 0 {
			delete(s.presence, extension)
			continue
		}
		s.presence[extension] = live
		for _, p := range live {
			next = min(next, p.expires.Sub(now))
		}
	}
	return next
}
