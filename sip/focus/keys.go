package focus

import (
	"slices"
	"time"
)

// Keys. Outside of the meeting they are the PIN: "#" ends it, "*" begins it anew. In the meeting they are codes behind a star:
//
//	*5 hand up or down   *6 mute or unmute    *7 answer the roll call
//	*1 take the chair    *2 mute or open all  *3 floor to the next who asked   *4 discussion   *8 lock   *99 end the meeting

const (
	// pinPause ends a PIN whose length says nothing, codePause forgets a code that was begun.
	pinPause  = 5 * time.Second
	codePause = 3 * time.Second
	// longestPIN bounds what is remembered of it.
	longestPIN = 32
)

// codes are what keys mean in the meeting.
func codes(keys string) (a Act, more bool) {
	switch keys {
	case "*", "*9":
		return 0, true
	case "*1":
		return TakeChair, false
	case "*2":
		return MuteAll, false
	case "*3":
		return NextSpeaker, false
	case "*4":
		return Discussion, false
	case "*5":
		return ToggleHand, false
	case "*6":
		return ToggleMute, false
	case "*7":
		return AnswerRoll, false
	case "*8":
		return LockRoom, false
	case "*99":
		return EndMeeting, false
	}
	return 0, false
}

// collector collects keys. It is pure.
type collector struct {
	keys string
	at   time.Time
}

// code takes a key in the meeting; 0: nothing yet, or nothing at all.
func (c *collector) code(key byte, now time.Time) Act {
	if now.Sub(c.at) > codePause || key == '*' {
		c.keys = ""
	}
	c.at = now
	if c.keys == "" && key != '*' {
		return 0
	}
	c.keys += string(key)
	a, more := codes(c.keys)
	if !more {
		c.keys = ""
	}
	return a
}

// pin takes a key before the meeting. whole says that these are all; try that they may be.
func (c *collector) pin(key byte, lengths []int) (pin string, try, whole bool) {
	switch {
	case key == '*':
		c.keys = ""
	case key == '#':
		pin = c.keys
		return pin, pin != "", pin != ""
	case key >= '0' && key <= '9' && len(c.keys) < longestPIN:
		c.keys += string(key)
		longest := 0
		if len(lengths) > 0 {
			longest = slices.Max(lengths)
		}
		return c.keys, slices.Contains(lengths, len(c.keys)), longest > 0 && len(c.keys) >= longest
	}
	return "", false, false
}

// clear forgets what was pressed.
func (c *collector) clear() { c.keys = "" }
