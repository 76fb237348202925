package line

// Precedence ranks calls among each other, as multilevel precedence and preemption does (ITU-T Q.735.3, RFC 4412 §10).
// The zero Precedence is the ordinary one.
type Precedence uint8

// The levels, lowest first. An emergency call is above all of them (see Emergency).
const (
	PrecedenceRoutine Precedence = iota
	PrecedencePriority
	PrecedenceImmediate
	PrecedenceFlash
	PrecedenceFlashOverride

	precedences = int(PrecedenceFlashOverride) + 1 // length of a table indexed by Precedence
)

// Precedences returns every level, lowest first.
func Precedences() []Precedence {
	return []Precedence{PrecedenceRoutine, PrecedencePriority, PrecedenceImmediate, PrecedenceFlash, PrecedenceFlashOverride}
}

// String returns the word that configuration and JSON use.
func (p Precedence) String() string {
	switch p {
	case PrecedencePriority:
		return "priority"
	case PrecedenceImmediate:
		return "immediate"
	case PrecedenceFlash:
		return "flash"
	case PrecedenceFlashOverride:
		return "flash_override"
	case PrecedenceRoutine:
		return "routine"
	default:
		return "routine"
	}
}

// ParsePrecedence reads what String writes.
func ParsePrecedence(text string) (Precedence, bool) {
	for _, p := range Precedences() {
		if p.String() == text {
			return p, true
		}
	}
	return PrecedenceRoutine, false
}

// known maps what is no level to the ordinary one.
func (p Precedence) known() Precedence {
	if p > PrecedenceFlashOverride {
		return PrecedenceRoutine
	}
	return p
}
