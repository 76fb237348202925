package subscribe

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// request of a SUBSCRIBE, read.
type wish struct {
	event   string
	eventID string
	expires time.Duration
	brief   bool // shorter than allowed
}

// ServeSubscribe is the handler of SUBSCRIBE, inside of dialogs and outside.
func (s *Service) ServeSubscribe(ctx context.Context, req *stack.Request) {
	if req.InDialog() {
		s.refresh(ctx, req)
		return
	}
	s.subscribe(ctx, req)
}

// Knows reports whether a request belongs to one of our subscriptions.
func (s *Service) Knows(req *stack.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subs[keyOf(req)] != nil
}

func keyOf(req *stack.Request) key {
	tag, _ := req.To().Params.Get("tag")
	return key{req.CallID().Value(), tag}
}

// parseWish reads what every SUBSCRIBE carries; the response says what is wrong.
func (s *Service) parseWish(req *stack.Request) (wish, *sip.Response) {
	var w wish
	h := req.GetHeader("Event")
	if h == nil {
		return w, s.badEvent(req)
	}
	name, params, _ := strings.Cut(h.Value(), ";")
	w.event = strings.ToLower(strings.TrimSpace(name))
	for p := range strings.SplitSeq(params, ";") {
		if k, v, ok := strings.Cut(p, "="); ok && strings.EqualFold(strings.TrimSpace(k), "id") {
			w.eventID = strings.TrimSpace(v)
		}
	}
	if len(w.eventID) > 64 || strings.ContainsAny(w.eventID, "\r\n\" ;,") {
		return w, s.refusal(req, sip.StatusBadRequest, "Bad Event")
	}
	w.expires = s.limits.MaxExpires // RFC 6665 §3.1.1: the package's default; all of ours say an hour
	if h := req.GetHeader("Expires"); h != nil {
		n, err := strconv.ParseUint(strings.TrimSpace(h.Value()), 10, 32)
		if err != nil {
			return w, s.refusal(req, sip.StatusBadRequest, "Bad Expires")
		}
		w.expires = min(time.Duration(n)*time.Second, s.limits.MaxExpires)
	}
	w.brief = w.expires > 0 && w.expires < s.limits.MinExpires
	return w, nil
}

func (s *Service) badEvent(req *stack.Request) *sip.Response {
	res := s.stack.NewResponse(req, 489, "Bad Event") // RFC 6665 §8.3.2
	res.AppendHeader(sip.NewHeader("Allow-Events", s.stack.AllowedEvents()))
	return res
}

func (s *Service) refusal(req *stack.Request, code int, reason string) *sip.Response {
	res := s.stack.NewResponse(req, code, reason)
	if code == sip.StatusServiceUnavailable {
		res.AppendHeader(sip.NewHeader("Retry-After", "30"))
	}
	return res
}

// respond sends an answer; the phone repeats a request whose answer is lost.
func (s *Service) respond(req *stack.Request, res *sip.Response) { _ = req.Tx.Respond(res) }

// subscribe serves a SUBSCRIBE that opens a dialog. What is wrong with it is said before the
// challenge, who may watch what after it.
func (s *Service) subscribe(ctx context.Context, req *stack.Request) {
	w, refusal := s.parseWish(req)
	if refusal == nil {
		refusal = s.checkForm(req, w)
	}
	if refusal != nil {
		s.respond(req, refusal)
		return
	}
	from, challenge := s.o.Auth.Check(req)
	if challenge != nil {
		s.respond(req, challenge)
		return
	}
	sub, refusal := s.newSubscription(req, w, from)
	if refusal == nil && w.event == eventFeatures {
		refusal = s.changeFeature(ctx, req, from.Extension)
	}
	if refusal == nil {
		refusal = s.admit(req, sub)
	}
	if refusal != nil {
		s.respond(req, refusal)
		return
	}
	s.accept(req, sub, w)
	s.start(sub)
}

// checkForm refuses what no authentication would make right.
func (s *Service) checkForm(req *stack.Request, w wish) *sip.Response {
	_, list := listOwner(req.Recipient.User)
	switch {
	case !slices.Contains([]string{eventDialog, eventPresence, eventSummary, eventFeatures}, w.event):
		return s.badEvent(req)
	case !dialog.Possible(req.Request):
		return s.refusal(req, sip.StatusBadRequest, "No Usable Contact")
	case !s.acceptable(req, w.event, list):
		return s.refusal(req, sip.StatusNotAcceptable, "Not Acceptable")
	case w.brief:
		return s.tooBrief(req)
	case len(req.Body()) > maxDocument:
		return s.refusal(req, sip.StatusRequestEntityTooLarge, "Request Entity Too Large")
	case list && !stack.HasToken(req, "Supported", "eventlist") && !stack.HasToken(req, "Require", "eventlist"):
		res := s.refusal(req, sip.StatusExtensionRequired, "Extension Required") // RFC 4662 §4.2
		res.AppendHeader(sip.NewHeader("Require", "eventlist"))
		return res
	}
	return nil
}

func (s *Service) tooBrief(req *stack.Request) *sip.Response {
	res := s.refusal(req, sip.StatusIntervalToBrief, "Interval Too Brief")
	res.AppendHeader(sip.NewHeader("Min-Expires", strconv.Itoa(int(s.limits.MinExpires/time.Second))))
	return res
}

// acceptable reports whether the phone can read our documents; without Accept it reads the
// package's own type.
func (s *Service) acceptable(req *stack.Request, event string, list bool) bool {
	wanted := map[string]string{eventDialog: dialogInfoType, eventPresence: pidfType, eventSummary: summaryType}[event]
	if wanted == "" || len(req.GetHeaders("Accept")) == 0 {
		return true
	}
	accepts := func(kind string) bool {
		group, _, _ := strings.Cut(kind, "/")
		return slices.ContainsFunc(stack.Tokens(req, "Accept"), func(t string) bool {
			t, _, _ = strings.Cut(strings.ToLower(t), ";")
			t = strings.TrimSpace(t)
			return t == kind || t == group+"/*" || t == "*/*"
		})
	}
	return accepts(wanted) && (!list || accepts("multipart/related"))
}

// newSubscription decides who may watch what.
func (s *Service) newSubscription(req *stack.Request, w wish, from directory.Terminal) (*subscription, *sip.Response) {
	resource, list := strings.ToLower(req.Recipient.User), false
	if plain, err := url.PathUnescape(resource); err == nil { // "%2A8" is "*8"
		resource = plain
	}
	if owner, ok := listOwner(resource); ok {
		resource, list = owner+listSuffix, true
		if owner != from.Extension {
			return nil, s.refusal(req, sip.StatusForbidden, "List Is Not Yours")
		}
	}
	switch {
	case !s.ours(req.Recipient.Host):
		return nil, s.refusal(req, sip.StatusNotFound, "Domain Not Served Here")
	case list && w.event != eventDialog && w.event != eventPresence:
		return nil, s.refusal(req, sip.StatusNotFound, "No Such List")
	case w.event == eventSummary || w.event == eventFeatures:
		// A terminal's own matter; phones name themselves, their mailbox's number or the domain.
		resource = from.Extension
	}
	shown, ok := s.lampsOf(w.event, from.Extension, resource, list)
	if !ok {
		return nil, s.refusal(req, sip.StatusNotFound, "No Such Number")
	}
	d, err := newDialog(req.Request, req.Tx.Tag())
	if err != nil {
		return nil, s.refusal(req, sip.StatusBadRequest, "No Dialog Possible")
	}
	now := time.Now()
	sub := &subscription{
		key: key{d.ID.CallID, d.ID.LocalTag}, event: w.event, eventID: w.eventID, owner: from.Extension, resource: resource, list: list,
		dialog: d, flow: reachedAt(req), expires: now.Add(w.expires), lamps: shown, full: true, fetch: w.expires == 0, position: -1,
		cseq: counter{Ceiling: block}, version: counter{Ceiling: block},
	}
	if sub.fetch {
		sub.expires = now.Add(s.limits.MinExpires) // until its one NOTIFY is answered
	}
	return sub, nil
}

// reachedAt is where NOTIFYs go: back over the connection, or to where the phone says it listens
// when that is the very host it sent from.
func reachedAt(req *stack.Request) stack.Flow {
	f := req.Flow
	contact := req.Contact()
	if f.Stream() || contact == nil || len(req.GetHeaders("Record-Route")) > 0 {
		return f
	}
	if at, ok := hostPort(&contact.Address); ok && at.Addr() == f.Remote.Addr() {
		f.Remote = at
	}
	return f
}

// changeFeature is what the body of a SUBSCRIBE to as-feature-event asks for.
func (s *Service) changeFeature(ctx context.Context, req *stack.Request, extension string) *sip.Response {
	if len(req.Body()) == 0 {
		return nil
	}
	if kind := contentType(req); kind != featureType {
		res := s.refusal(req, sip.StatusUnsupportedMediaType, "Unsupported Media Type")
		res.AppendHeader(sip.NewHeader("Accept", featureType))
		return res
	}
	c, err := parseFeatureChange(req.Body())
	if err != nil {
		s.log.Info("feature change not understood", slog.String(observe.Extension, extension), slog.Any(observe.Err, err))
		return s.refusal(req, sip.StatusBadRequest, "Bad Feature Document")
	}
	switch err := c.apply(ctx, s.o.Features, extension); {
	case errors.Is(err, ErrNotAllowed):
		return s.refusal(req, sip.StatusForbidden, "Setting Not Allowed")
	case err != nil:
		s.log.Error("feature not changed", slog.String(observe.Extension, extension), slog.Any(observe.Err, err))
		return s.refusal(req, sip.StatusInternalServerError, "Server Internal Error")
	}
	s.Changed(extension) // every phone of the extension shows it
	return nil
}

func contentType(msg sip.Message) string {
	all := msg.GetHeaders("Content-Type")
	if len(all) == 0 {
		return ""
	}
	kind, _, _ := strings.Cut(all[0].Value(), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// admit adds a subscription within the limits; it is notified once it is started. A phone that
// restarted without ending its old ones may fill its share with them: the same watcher's older
// one for the same number goes.
func (s *Service) admit(req *stack.Request, sub *subscription) *sip.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owned[sub.owner] >= s.limits.PerTerminal && !s.dropTwin(sub) {
		s.o.Dropped.Count("sip_subscribe", "terminal_limit")
		return s.refusal(req, sip.StatusForbidden, "Too Many Subscriptions")
	}
	if len(s.subs) >= s.limits.Total {
		s.o.Dropped.Count("sip_subscribe", "total_limit")
		return s.refusal(req, sip.StatusServiceUnavailable, "Service Unavailable")
	}
	s.put(sub)
	return nil
}

func (s *Service) dropTwin(sub *subscription) bool {
	var oldest *subscription
	for _, other := range s.subs {
		if other.owner == sub.owner && other.event == sub.event && other.resource == sub.resource && other.dialog.Target == sub.dialog.Target &&
			(oldest == nil || other.expires.Before(oldest.expires)) {
			oldest = other
		}
	}
	if oldest == nil {
		return false
	}
	s.remove(oldest)
	return true
}

// accept sends the 200 (RFC 6665 §4.2.1.1: before the NOTIFY).
func (s *Service) accept(req *stack.Request, sub *subscription, w wish) {
	res := s.stack.NewResponse(req, sip.StatusOK, "OK")
	res.AppendHeader(&sip.ContactHeader{Address: s.stack.ContactURI(req.Flow, sub.resource)})
	res.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(int(w.expires/time.Second))))
	res.AppendHeader(sip.NewHeader("Allow-Events", s.stack.AllowedEvents()))
	if sub.list {
		res.AppendHeader(sip.NewHeader("Require", "eventlist")) // RFC 4662 §4.3
	}
	s.respond(req, res)
}

func (s *Service) start(sub *subscription) {
	now := time.Now()
	s.mu.Lock()
	sub.tellAll(now)
	if sub.fetch {
		sub.asked = true
		sub.end(reasonTimeout, now)
	}
	s.schedule(sub)
	s.save(sub)
	s.mu.Unlock()
	s.log.Debug("subscribed", slog.String(observe.Extension, sub.owner), slog.String("event", sub.event), slog.String("resource", sub.resource))
	s.wake()
}

// refresh serves a SUBSCRIBE in a subscription's dialog: longer, or no longer (Expires: 0). A
// phone that hears 481 subscribes anew (RFC 6665 §4.1.2.2), which is what makes lamps come back
// after whatever went wrong.
func (s *Service) refresh(ctx context.Context, req *stack.Request) {
	w, refusal := s.parseWish(req)
	if refusal != nil {
		s.respond(req, refusal)
		return
	}
	if !s.Knows(req) {
		s.respond(req, s.refusal(req, sip.StatusCallTransactionDoesNotExists, "Subscription Does Not Exist"))
		return
	}
	from, challenge := s.o.Auth.Check(req)
	if challenge != nil {
		s.respond(req, challenge)
		return
	}
	if w.brief {
		s.respond(req, s.tooBrief(req))
		return
	}
	if w.event == eventFeatures {
		if refusal := s.changeFeature(ctx, req, from.Extension); refusal != nil {
			s.respond(req, refusal)
			return
		}
	}
	sub, refusal := s.renew(req, w, from.Extension)
	if refusal != nil {
		s.respond(req, refusal)
		return
	}
	s.accept(req, sub, w)
	s.renewed(sub)
}

// renew changes a subscription as its phone wishes.
func (s *Service) renew(req *stack.Request, w wish, owner string) (*subscription, *sip.Response) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subs[keyOf(req)]
	tag, _ := req.From().Params.Get("tag")
	switch {
	case sub == nil, sub.ending != "", sub.dialog.ID.RemoteTag != tag, sub.event != w.event, sub.eventID != w.eventID:
		return nil, s.refusal(req, sip.StatusCallTransactionDoesNotExists, "Subscription Does Not Exist")
	case sub.owner != owner:
		return nil, s.refusal(req, sip.StatusForbidden, "Subscription Is Not Yours")
	}
	if err := sub.dialog.Receive(req.Request); err != nil {
		return nil, s.refusal(req, sip.StatusInternalServerError, "CSeq Out Of Order")
	}
	sub.dialog.Refresh(req.Contact())
	sub.flow, sub.expires = reachedAt(req), now.Add(w.expires)
	sub.wake(now)
	if w.expires == 0 {
		sub.asked = true
		sub.end(reasonTimeout, now)
	}
	return sub, nil
}

// renewed tells the newest state in full: a refresh is also how a phone asks for it (RFC 6665
// §4.2.1.2).
func (s *Service) renewed(sub *subscription) {
	s.mu.Lock()
	sub.tellAll(time.Now())
	s.schedule(sub)
	s.save(sub)
	s.mu.Unlock()
	s.wake()
}
