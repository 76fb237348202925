package route

import (
	"time"

	"linehall/media/prompt"
)

// Served is what a feature code came to: text for the display, a refusal, or a number to go on
// with. Exactly one of Show, Refuse and Dial is set.
type Served struct {
	// Show is a line for the phone's display; the call ends after it.
	Show string
	// Say is what is heard with Show; nil: silence. The call ends with it, or after Long.
	Say    prompt.Program
	Long   time.Duration // how long Show and Say stay; 0: as long as a text is read
	Refuse *Refusal
	// Dial is the number to go on with, as if it had been dialled: the caller's class of service
	// counts. A number that is a feature code again leads nowhere.
	Dial string
	// Alert goes with Dial.
	Alert Alert
}
