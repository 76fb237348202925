package chair

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rules is the vocabulary: who may do what to whom.
var rules = map[string]rule{
	RequestChair:  {anyone, noTarget, (*Meeting).requestChair},
	ReleaseChair:  {chairOnly, noTarget, (*Meeting).releaseChair},
	RevokeChair:   {anyone, noTarget, (*Meeting).revokeChair},
	StartRoll:     {chairOnly, noTarget, (*Meeting).startRoll},
	AnswerRoll:    {seated, noTarget, (*Meeting).answerRoll},
	CloseRoll:     {chairOnly, noTarget, (*Meeting).endRoll},
	ViewVenue:     {chairOnly, presentOrNobody, (*Meeting).view},
	Broadcast:     {chairOnly, presentOrNobody, (*Meeting).broadcast},
	GiveFloor:     {chairOnly, presentOrNobody, (*Meeting).giveFloor},
	RequestFloor:  {seated, noTarget, (*Meeting).requestFloor},
	WithdrawFloor: {seated, noTarget, (*Meeting).withdrawFloor},
	DeclineFloor:  {chairOnly, anyMember, (*Meeting).declineFloor},
	Discussion:    {chairOnly, noTarget, (*Meeting).discussion},
	StartPoll:     {chairOnly, noTarget, (*Meeting).startPoll},
	NextInPoll:    {chairOnly, noTarget, (*Meeting).nextInPoll},
	PausePoll:     {chairOnly, noTarget, (*Meeting).pausePoll},
	StopPoll:      {chairOnly, noTarget, (*Meeting).stopPoll},
	MuteOne:       {chairOnly, presentMember, (*Meeting).muteOne},
	MuteAll:       {chairOnly, noTarget, (*Meeting).muteAll},
	AllowUnmute:   {chairOnly, noTarget, (*Meeting).allowUnmute},
	CameraOff:     {chairOnly, presentMember, (*Meeting).cameraOff},
	LockContent:   {chairOnly, presentOrNobody, (*Meeting).lockContent},
	LockRoom:      {chairOnly, noTarget, (*Meeting).lockRoom},
	KeepWaiting:   {chairOnly, noTarget, (*Meeting).keepWaiting},
	Admit:         {chairOnly, anyMember, (*Meeting).admit},
	TurnAway:      {chairOnly, anyMember, (*Meeting).turnAway},
	SetLayout:     {chairOnly, noTarget, (*Meeting).setLayout},
	SetBanner:     {chairOnly, noTarget, (*Meeting).setBanner},
	SetCaption:    {chairOnly, noTarget, (*Meeting).setCaption},
	Chat:          {anyone, noTarget, (*Meeting).chat},
	AddVenue:      {chairOnly, anyMember, (*Meeting).addVenue},
	DropVenue:     {chairOnly, presentMember, (*Meeting).dropVenue},
	CallVenue:     {chairOnly, anyMember, (*Meeting).callVenue},
	CallPhone:     {chairOnly, noTarget, (*Meeting).callPhone},
	CancelPhone:   {chairOnly, anyMember, (*Meeting).cancelPhone},
	Extend:        {chairOnly, noTarget, (*Meeting).extend},
	End:           {chairOnly, noTarget, (*Meeting).end},
	StartRecord:   {leader, noTarget, (*Meeting).startRecord},
	StopRecord:    {leader, noTarget, (*Meeting).stopRecord},
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (m *Meeting) requestChair(_ Act, by Actor, now time.Time) (Outcome, string, error) {
	switch {
	case m.s.Chair == by.Member:
		return Outcome{}, "", ErrNotNow
	case !by.MayChair:
		return Outcome{}, "", ErrForbidden
	case m.s.Chair != "" && (m.chairAway.IsZero() || now.Sub(m.chairAway) < ChairGrace):
		return Outcome{}, "", ErrChairHeld
	}
	m.seat(by.Member)
	return Outcome{}, "", nil
}

// seat gives the chair to somebody, who can speak from then on.
func (m *Meeting) seat(member string) {
	m.s.Chair, m.s.View, m.chairAway = member, "", time.Time{}
	delete(m.s.Muted, member)
}

func (m *Meeting) releaseChair(Act, Actor, time.Time) (Outcome, string, error) {
	m.seat("")
	return Outcome{}, "", nil
}

// revokeChair takes the chair from whoever has it. What was ordered stays until the next chair changes it.
func (m *Meeting) revokeChair(_ Act, by Actor, _ time.Time) (Outcome, string, error) {
	switch {
	case !by.MayRevoke:
		return Outcome{}, "", ErrForbidden
	case m.s.Chair == "":
		return Outcome{}, "", ErrNoChair
	}
	was := m.s.Chair
	m.seat("")
	return Outcome{}, was, nil
}

func (m *Meeting) view(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	m.s.View = a.Target
	return Outcome{}, "", nil
}

func (m *Meeting) broadcast(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	m.s.OnAir, m.s.Poll = a.Target, nil
	return Outcome{}, "", nil
}

// giveFloor mutes everybody but the chair and who has the floor, shows that venue to all and clears the requests. Without
// a target the floor is taken back and the others stay muted, which a discussion ends.
func (m *Meeting) giveFloor(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	if a.Target == "" && m.s.Floor == "" {
		return Outcome{}, "", ErrNotNow
	}
	for member := range m.s.Known { // who is away now may come back
		m.s.Muted[member] = true
	}
	m.s.MuteAll = true
	m.s.Floor = a.Target
	delete(m.s.Muted, m.s.Chair)
	if a.Target != "" {
		m.s.OnAir, m.s.Poll, m.s.Requests = a.Target, nil, nil
		delete(m.s.Muted, a.Target)
	}
	return Outcome{}, "", nil
}

// discussion ends floor, broadcast and poll: everybody may speak and be seen.
func (m *Meeting) discussion(Act, Actor, time.Time) (Outcome, string, error) {
	m.s.Floor, m.s.OnAir, m.s.Poll, m.s.MuteAll = "", "", nil, false
	clear(m.s.Muted)
	return Outcome{}, "", nil
}

func (m *Meeting) requestFloor(_ Act, by Actor, now time.Time) (Outcome, string, error) {
	if m.s.Floor == by.Member || slices.ContainsFunc(m.s.Requests, func(r Request) bool { return r.Member == by.Member }) {
		return Outcome{}, "", ErrNotNow
	}
	m.s.Requests = append(m.s.Requests, Request{Member: by.Member, Name: by.Name, At: now})
	return Outcome{}, "", nil
}

func (m *Meeting) withdrawFloor(_ Act, by Actor, _ time.Time) (Outcome, string, error) {
	return Outcome{}, "", m.strike(by.Member)
}

func (m *Meeting) declineFloor(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	return Outcome{}, "", m.strike(a.Target)
}

func (m *Meeting) strike(member string) error {
	i := slices.IndexFunc(m.s.Requests, func(r Request) bool { return r.Member == member })
	if i < 0 {
		return ErrNotNow
	}
	m.s.Requests = slices.Delete(m.s.Requests, i, i+1)
	return nil
}

func (m *Meeting) muteOne(a Act, by Actor, _ time.Time) (Outcome, string, error) {
	if a.Target == by.Member {
		return Outcome{}, "", bad("the chair mutes itself at its own microphone")
	}
	set(m.s.Muted, a.Target, a.On)
	return Outcome{}, onOff(a.On), nil
}

func set(m map[string]bool, key string, on bool) {
	if on {
		m[key] = true
	} else {
		delete(m, key)
	}
}

// muteAll mutes everybody but the chair, and whoever comes; off lets everybody speak.
func (m *Meeting) muteAll(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	m.s.MuteAll = a.On
	clear(m.s.Muted)
	if a.On {
		for member := range m.s.Known {
			set(m.s.Muted, member, member != m.s.Chair && member != m.s.Floor)
		}
	} else {
		m.s.Floor = ""
	}
	return Outcome{}, onOff(a.On), nil
}

func (m *Meeting) allowUnmute(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	m.s.MayUnmute = a.On
	return Outcome{}, onOff(a.On), nil
}

// Unmute is a member's own wish to speak or to be seen again after the chair muted it.
func (m *Meeting) Unmute(by Actor, now time.Time) ([]Minute, error) {
	if !m.s.Muted[by.Member] {
		return nil, nil
	}
	if !m.s.MayUnmuteSelf() {
		return nil, ErrMuted
	}
	delete(m.s.Muted, by.Member)
	return []Minute{{At: now, Actor: by.Member, ActorName: by.Name, Action: UnmuteSelf}}, nil
}

func (m *Meeting) cameraOff(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	set(m.s.CameraOff, a.Target, a.On)
	return Outcome{}, onOff(a.On), nil
}

// lockContent leaves sharing to the chair and, with a target, to one other.
func (m *Meeting) lockContent(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	m.s.ContentLocked, m.s.Presenter = a.On, ""
	if a.On {
		m.s.Presenter = a.Target
	}
	return Outcome{}, onOff(a.On), nil
}

func (m *Meeting) lockRoom(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	m.s.Locked = a.On
	return Outcome{}, onOff(a.On), nil
}

// keepWaiting makes newcomers wait. Nobody is left waiting when it ends.
func (m *Meeting) keepWaiting(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	m.s.WaitingRoom = a.On
	var out Outcome
	if !a.On {
		out.Admit = []string{Everybody}
	}
	return out, onOff(a.On), nil
}

// Everybody is the target that admits all who wait.
const Everybody = "*"

func (m *Meeting) admit(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	return Outcome{Admit: []string{a.Target}}, "", nil
}

func (m *Meeting) turnAway(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	return Outcome{Away: a.Target}, "", nil
}

func (m *Meeting) setLayout(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	if !a.Layout.valid() {
		return Outcome{}, "", bad("no such layout")
	}
	m.s.Layout, m.s.Forced = a.Layout, a.On
	return Outcome{}, strings.TrimSpace(string(a.Layout) + " " + map[bool]string{true: "forced"}[a.On]), nil
}

func (m *Meeting) setBanner(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	text, err := clean(a.Text, MaxText)
	if err == nil {
		m.s.Banner = text
	}
	return Outcome{}, text, err
}

func (m *Meeting) setCaption(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	text, err := clean(a.Text, MaxText)
	if err == nil {
		m.s.Caption = text
	}
	return Outcome{}, text, err
}

func (m *Meeting) chat(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	text, err := clean(strings.TrimSpace(a.Text), MaxChat)
	if err == nil && text == "" {
		err = bad("a message has a text")
	}
	return Outcome{Chat: text}, text, err
}

// addVenue lets a venue back in that was dropped.
func (m *Meeting) addVenue(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	if !m.s.Dropped[a.Target] {
		return Outcome{}, "", ErrNotNow
	}
	delete(m.s.Dropped, a.Target)
	return Outcome{}, "", nil
}

// callVenue rings a venue, or all that are not there. Who was dropped may come back then.
func (m *Meeting) callVenue(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	var out Outcome
	for _, v := range m.venues {
		if (a.Target == Everybody && !m.s.Dropped[v.Member] || v.Member == a.Target) && !m.Present(v.Member) {
			out.Call = append(out.Call, v.Member)
		}
	}
	if len(out.Call) == 0 {
		return out, "", ErrNotNow
	}
	delete(m.s.Dropped, a.Target)
	return out, "", nil
}

func (m *Meeting) dropVenue(a Act, by Actor, _ time.Time) (Outcome, string, error) {
	if a.Target == by.Member {
		return Outcome{}, "", bad("the chair cannot drop itself: release the chair first")
	}
	m.s.Dropped[a.Target] = true
	if m.s.OnAir == a.Target {
		m.s.OnAir = ""
	}
	if m.s.Floor == a.Target {
		m.s.Floor = ""
	}
	if m.s.View == a.Target {
		m.s.View = ""
	}
	return Outcome{Drop: a.Target}, "", nil
}

func (m *Meeting) extend(a Act, _ Actor, now time.Time) (Outcome, string, error) {
	by := time.Duration(a.Seconds) * time.Second
	if by <= 0 || by > MaxExtend {
		return Outcome{}, "", bad("a meeting is extended by up to %v", MaxExtend)
	}
	from := now
	if m.s.EndsAt.After(now) {
		from = m.s.EndsAt
	}
	if from.Add(by).Sub(now) > 24*time.Hour {
		return Outcome{}, "", bad("a meeting ends within a day")
	}
	m.s.EndsAt = from.Add(by)
	return Outcome{}, fmt.Sprintf("%v until %s", by, m.s.EndsAt.UTC().Format(time.RFC3339)), nil
}

func (m *Meeting) end(Act, Actor, time.Time) (Outcome, string, error) {
	return Outcome{End: true}, "", nil
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) + " s" }

// maxNumber bounds the digits of a telephone number.
const maxNumber = 32

func (m *Meeting) callPhone(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	number := strings.TrimSpace(a.Text)
	if number == "" || len(number) > maxNumber || strings.Trim(strings.TrimPrefix(number, "+"), "0123456789*#") != "" {
		return Outcome{}, "", bad("a telephone number has up to %d digits", maxNumber)
	}
	return Outcome{Dial: number}, number, nil
}

func (m *Meeting) cancelPhone(a Act, _ Actor, _ time.Time) (Outcome, string, error) {
	return Outcome{Cancel: a.Target}, "", nil
}
