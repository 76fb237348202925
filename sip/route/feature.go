package route

// Served is what a feature code came to: text for the display, a refusal, a number to go on with,
// or extensions whose ringing call the caller takes. Exactly one of Show, Refuse, Dial and Pickup
// is set.
type Served struct {
	// Show is a line for the phone's display; the call ends after it.
	Show   string
	Refuse *Refusal
	// Dial is the number to go on with, as if it had been dialled: the caller's class of service
	// counts. A number that is a feature code again leads nowhere.
	Dial string
	// Alert goes with Dial.
	Alert Alert
	// Pickup are the extensions whose ringing call the caller answers, whichever rang first.
	Pickup []string
}
