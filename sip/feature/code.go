package feature

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"linehall/internal/audit"
	"linehall/internal/directory"
	"linehall/internal/setting"
	"linehall/media/prompt"
	"linehall/sip/dialplan"
	"linehall/sip/route"
)

// Dial serves a feature code that a phone dialled. Whoever calls it has authenticated the phone;
// a code is for our own extensions only. What changes a setting is recorded before.
func (s *Service) Dial(ctx context.Context, caller directory.Terminal, feature, argument string) route.Served {
	own, known := s.o.Directory.ByExtension(caller.Extension)
	if !known || caller.Extension == "" || !own.MayRegister() {
		return s.refuse(403, sayNotForYou)
	}
	c := &code{s: s, caller: caller, name: feature, argument: strings.TrimRight(argument, "#")}
	serve, there := codes()[feature]
	if !there {
		return s.refuse(501, sayNotServed)
	}
	return serve(c, ctx)
}

// code is one use of a feature code.
type code struct {
	s              *Service
	caller         directory.Terminal
	name, argument string
}

// codes says what each name of dialplan.features does.
func codes() map[string]func(*code, context.Context) route.Served {
	on, off := true, false
	table := map[string]func(*code, context.Context) route.Served{
		"do_not_disturb":      func(c *code, ctx context.Context) route.Served { return c.doNotDisturb(ctx, nil) },
		"do_not_disturb_on":   func(c *code, ctx context.Context) route.Served { return c.doNotDisturb(ctx, &on) },
		"do_not_disturb_off":  func(c *code, ctx context.Context) route.Served { return c.doNotDisturb(ctx, &off) },
		"block_anonymous":     func(c *code, ctx context.Context) route.Served { return c.blockAnonymous(ctx, true) },
		"block_anonymous_off": func(c *code, ctx context.Context) route.Served { return c.blockAnonymous(ctx, false) },
		"forward_off":         (*code).forwardsOff,
		"call_waiting":        (*code).callWaiting,
		"boss_secretary":      (*code).bossSecretary,
		"call_back":           (*code).callBack,
		"speed_dial":          (*code).speedDial,
		"speed_dial_store":    (*code).storeSpeedDial,
		"hot_desk_in":         (*code).logIn,
		"hot_desk_out":        (*code).logOut,
		"group_in":            func(c *code, ctx context.Context) route.Served { return c.group(ctx, true) },
		"group_out":           func(c *code, ctx context.Context) route.Served { return c.group(ctx, false) },
		"intercom":            (*code).intercom,
		"call_completion":     (*code).complete,
		"call_completion_off": (*code).forget,
		"status":              (*code).status,
		"echo_test":           (*code).echo,
		"record":              (*code).recordCall,
		"claim":               (*code).claim,
	}
	for name, kind := range map[string]Kind{"forward_always": Always, "forward_busy": Busy, "forward_no_answer": NoAnswer, "forward_unreachable": Unreachable} {
		table[name] = func(c *code, ctx context.Context) route.Served { return c.forward(ctx, kind) }
		table[name+"_off"] = func(c *code, ctx context.Context) route.Served { return c.forwardOff(ctx, kind) }
	}
	return table
}

// Codes lists the names of the codes that are served here.
func Codes() []string {
	names := make([]string, 0, len(codes()))
	for name := range codes() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *Service) refuse(status int, p phrase, args ...any) route.Served {
	return route.Served{Refuse: &route.Refusal{Code: status, Text: s.say(p, args...)}}
}

func (c *code) refuse(status int, p phrase, args ...any) route.Served {
	return c.s.refuse(status, p, args...)
}

func (c *code) show(p phrase, args ...any) route.Served {
	return c.s.confirmed(c.s.say(p, args...))
}

// record writes down who does what, before it is done. detail never holds a PIN.
func (c *code) record(ctx context.Context, object, detail string) error {
	return c.s.o.Audit.Append(ctx, audit.Event{
		Actor: "phone " + c.caller.Extension, Source: "desk " + c.s.physical(c.caller.Extension), Action: "terminal.features", Object: object,
		Detail: map[string]string{"code": c.name, "argument": detail},
	})
}

// change edits settings on the phone's word and shows what came of it.
func (c *code) change(ctx context.Context, extension string, edit func(*Settings), said func(Settings) route.Served) route.Served {
	if err := c.record(ctx, extension, c.argument); err != nil {
		c.s.log.Error("feature code not recorded, nothing changed", slog.Any("err", err))
		return c.refuse(500, sayNotStored)
	}
	after, err := c.s.Change(ctx, extension, edit)
	switch {
	case errors.Is(err, ErrStore):
		return c.refuse(500, sayNotStored)
	case err != nil:
		c.s.log.Info("feature code refused", slog.String("extension", extension), slog.String("code", c.name), slog.Any("err", setting.Unfold(err)[0]))
		if c.argument == "" {
			return c.refuse(403, sayWrongInput)
		}
		return c.refuse(403, sayNotAllowed, c.argument)
	}
	return said(after)
}

func (c *code) forward(ctx context.Context, k Kind) route.Served {
	before := c.s.settings(c.caller.Extension)
	if c.argument == "" && before.forward(k).To == "" {
		return c.refuse(404, sayNoNumber)
	}
	return c.change(ctx, c.caller.Extension, func(own *Settings) {
		f := own.forward(k)
		f.On = true
		if c.argument != "" {
			f.To = c.argument
		}
	}, func(own Settings) route.Served { return c.show(sayForwardOn, kindName(k), own.forward(k).To) })
}

func (c *code) forwardOff(ctx context.Context, k Kind) route.Served {
	return c.change(ctx, c.caller.Extension, func(own *Settings) { own.forward(k).On = false },
		func(Settings) route.Served { return c.show(sayForwardOff, kindName(k)) })
}

func (c *code) forwardsOff(ctx context.Context) route.Served {
	return c.change(ctx, c.caller.Extension, func(own *Settings) {
		for _, k := range kinds() {
			own.forward(k).On = false
		}
	}, func(Settings) route.Served { return c.show(sayForwardsOff) })
}

func (c *code) doNotDisturb(ctx context.Context, on *bool) route.Served {
	return c.change(ctx, c.caller.Extension, func(own *Settings) {
		if own.DoNotDisturb = !own.DoNotDisturb; on != nil {
			own.DoNotDisturb = *on
		}
	}, func(own Settings) route.Served { return c.either(own.DoNotDisturb, sayDNDOn, sayDNDOff) })
}

func (c *code) either(on bool, yes, no phrase) route.Served {
	if on {
		return c.show(yes)
	}
	return c.show(no)
}

func (c *code) blockAnonymous(ctx context.Context, on bool) route.Served {
	return c.change(ctx, c.caller.Extension, func(own *Settings) { own.BlockAnonymous = on },
		func(own Settings) route.Served { return c.either(own.BlockAnonymous, sayBlockOn, sayBlockOff) })
}

// callWaiting switches between one call and as many as before; with digits behind the code, that
// many.
func (c *code) callWaiting(ctx context.Context) route.Served {
	return c.change(ctx, c.caller.Extension, func(own *Settings) {
		if own.CallLimit == 1 {
			own.CallLimit = 0
		} else {
			own.CallLimit = 1
		}
	}, func(own Settings) route.Served { return c.either(own.CallLimit != 1, sayWaitingOn, sayWaitingOff) })
}

// bossSecretary switches the caller's secretary, or, dialled by a secretary, the bosses'.
func (c *code) bossSecretary(ctx context.Context) route.Served {
	bosses := c.s.bossesOf(c.caller.Extension)
	if c.s.settings(c.caller.Extension).Boss.Secretary != "" {
		bosses = []string{c.caller.Extension}
	}
	if len(bosses) == 0 {
		return c.refuse(404, sayNoBoss)
	}
	on := !c.s.settings(bosses[0]).Boss.On
	var last route.Served
	for _, boss := range bosses {
		last = c.change(ctx, boss, func(own *Settings) { own.Boss.On = on },
			func(own Settings) route.Served { return c.either(own.Boss.On, sayBossOn, sayBossOff) })
		if last.Refuse != nil {
			return last
		}
	}
	return last
}

// bossesOf lists whose calls a secretary takes.
func (s *Service) bossesOf(secretary string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var bosses []string
	for extension, own := range s.book {
		if own.Boss.Secretary == secretary {
			bosses = append(bosses, extension)
		}
	}
	slices.Sort(bosses)
	return bosses
}

func (c *code) callBack(context.Context) route.Served {
	number, _, known := c.s.LastCaller(c.caller.Extension)
	switch {
	case !known:
		return c.refuse(404, sayNoLastCaller)
	case number == "":
		return c.refuse(404, sayWithheld)
	}
	return route.Served{Dial: number}
}

// twoDigits makes "5" the code "05".
func twoDigits(code string) string {
	if len(code) == 1 {
		return "0" + code
	}
	return code
}

func (c *code) speedDial(context.Context) route.Served {
	short := twoDigits(c.argument)
	if !speedCode(short) {
		return c.refuse(484, sayWrongInput)
	}
	number := c.s.settings(c.caller.Extension).SpeedDials[short]
	if number == "" {
		return c.refuse(404, sayNoSpeed, short)
	}
	return route.Served{Dial: number}
}

// storeSpeedDial takes NN and the number, with or without a * between; NN alone deletes.
func (c *code) storeSpeedDial(ctx context.Context) route.Served {
	short, number, split := strings.Cut(c.argument, "*")
	if !split && len(c.argument) >= 2 {
		short, number = c.argument[:2], c.argument[2:]
	}
	short = twoDigits(short)
	if !speedCode(short) {
		return c.refuse(484, sayWrongInput)
	}
	if number != "" {
		switch c.s.o.Plan.Decide(callerOf(c.caller), number, c.s.now()).Kind {
		case dialplan.Feature, dialplan.Unknown, dialplan.Forbidden:
			return c.refuse(403, sayNotAllowed, number)
		case dialplan.Extension, dialplan.Duty, dialplan.Emergency, dialplan.Group, dialplan.Room, dialplan.Outside:
		}
	}
	return c.change(ctx, c.caller.Extension, func(own *Settings) {
		if number == "" {
			delete(own.SpeedDials, short)
			return
		}
		if own.SpeedDials == nil {
			own.SpeedDials = map[string]string{}
		}
		own.SpeedDials[short] = number
	}, func(Settings) route.Served {
		if number == "" {
			return c.show(sayCleared, short)
		}
		return c.show(sayStored, short, number)
	})
}

// logIn takes EXTENSION*PIN, or both without the star.
func (c *code) logIn(ctx context.Context) route.Served {
	guest, pin, split := strings.Cut(c.argument, "*")
	if !split {
		guest, pin = c.splitGuest()
	}
	desk := c.s.physical(c.caller.Extension)
	if err := c.record(ctx, desk, guest); err != nil {
		c.s.log.Error("log-in at a desk not recorded", slog.Any("err", err))
		return c.refuse(500, sayNotStored)
	}
	_, err := c.s.LogIn(ctx, desk, guest, pin)
	switch {
	case errors.Is(err, ErrLocked):
		return c.refuse(403, sayLocked)
	case errors.Is(err, ErrPIN):
		return c.refuse(403, sayWrongPIN)
	case err != nil:
		c.s.log.Error("log-in at a desk", slog.String("extension", desk), slog.Any("err", err))
		return c.refuse(500, sayNotStored)
	}
	return c.show(sayGuest, guest)
}

// splitGuest finds the extension that the argument begins with.
func (c *code) splitGuest() (guest, pin string) {
	for n := len(c.argument) - minPIN; n > 0; n-- {
		if _, known := c.s.o.Directory.ByExtension(c.argument[:n]); known {
			return c.argument[:n], c.argument[n:]
		}
	}
	return c.argument, ""
}

func (c *code) logOut(ctx context.Context) route.Served {
	desk := c.s.physical(c.caller.Extension)
	if desk == c.caller.Extension {
		return c.refuse(404, sayNoGuest)
	}
	if err := c.record(ctx, desk, c.caller.Extension); err != nil {
		return c.refuse(500, sayNotStored)
	}
	if _, err := c.s.LogOut(ctx, desk); err != nil {
		return c.refuse(500, sayNotStored)
	}
	return c.show(sayGuestGone, c.caller.Extension)
}

// group logs in to one group, or to all of the caller's.
func (c *code) group(ctx context.Context, in bool) route.Served {
	var mine []string
	for _, g := range c.s.o.Plan.Groups() {
		if slices.Contains(g.Members, c.caller.Extension) && (c.argument == "" || c.argument == g.Number) {
			mine = append(mine, g.Number)
		}
	}
	if len(mine) == 0 {
		return c.refuse(404, sayNoGroup)
	}
	said := sayGroupOut
	if in {
		said = sayGroupIn
	}
	return c.change(ctx, c.caller.Extension, func(own *Settings) {
		for _, g := range mine {
			own.setMember(g, in)
		}
	}, func(Settings) route.Served { return c.show(said, strings.Join(mine, " ")) })
}

func (c *code) intercom(context.Context) route.Served {
	d := c.s.o.Plan.Decide(callerOf(c.caller), c.argument, c.s.now())
	if d.Kind != dialplan.Extension {
		return c.refuse(404, sayNotAllowed, c.argument)
	}
	return route.Served{Dial: d.Number, Alert: route.Intercom}
}

// MayPickUp reports whether a terminal may answer a call that rings at an extension (sip/call's
// Pickup): a colleague's of its pickup groups and ring groups, and a boss's for the secretary.
func (s *Service) MayPickUp(picker directory.Terminal, ringing string) bool {
	return slices.Contains(s.Colleagues(picker.Extension), ringing)
}

// Colleagues lists whose calls an extension may pick up.
func (s *Service) Colleagues(extension string) []string {
	found := map[string]bool{}
	for _, g := range s.o.Plan.Groups() {
		if slices.Contains(g.Members, extension) {
			for _, m := range g.Members {
				found[m] = true
			}
		}
	}
	s.mu.RLock()
	mine := s.book[extension].PickupGroups
	for other, own := range s.book {
		if own.Boss.Secretary == extension || slices.ContainsFunc(own.PickupGroups, func(g string) bool { return slices.Contains(mine, g) }) {
			found[other] = true
		}
	}
	s.mu.RUnlock()
	delete(found, extension)
	list := make([]string, 0, len(found))
	for e := range found {
		list = append(list, e)
	}
	slices.Sort(list)
	return list
}

func (c *code) complete(ctx context.Context) route.Served {
	wish, err := c.s.Complete(ctx, c.caller, c.argument)
	switch {
	case errors.Is(err, ErrNotServed):
		return c.refuse(501, sayNotServed)
	case errors.Is(err, ErrTooManyWishes):
		return c.refuse(403, sayManyWishes)
	case errors.Is(err, ErrStore):
		return c.refuse(500, sayNotStored)
	case err != nil:
		return c.refuse(404, sayNoCompletion)
	}
	return c.show(sayCompletion, wish.Callee)
}

func (c *code) forget(ctx context.Context) route.Served {
	n, err := c.s.Forget(ctx, c.caller.Extension, c.argument)
	if err != nil {
		return c.refuse(500, sayNotStored)
	}
	return c.show(sayCompletionsOff, n)
}

func (c *code) status(context.Context) route.Served {
	return c.s.confirmed(c.s.summary(c.s.Settings(c.caller.Extension)))
}

// longestEcho ends a test that somebody forgot.
const longestEcho = 5 * time.Minute

// echo lets the caller hear itself, so that a telephone, its codec and its line can be judged without a second person.
func (c *code) echo(context.Context) route.Served {
	return route.Served{
		Show: c.s.say(sayEcho), Long: longestEcho,
		Say: &prompt.Sequence{prompt.NewPlayer(c.s.tones().Confirmation, confirmation), &prompt.Echo{}},
	}
}

// confirmation is how long the confirmation tone plays.
const confirmation = time.Second

// confirmed shows a text and lets the confirmation tone be heard.
func (s *Service) confirmed(text string) route.Served {
	return route.Served{Show: text, Say: prompt.NewPlayer(s.tones().Confirmation, 0)}
}

// tones are those of the configured country.
func (s *Service) tones() prompt.Table {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return prompt.Tones(s.config.Tones)
}
