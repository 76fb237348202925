package dialplan

import (
	"slices"
	"strings"
)

// FeatureInfo describes a feature that can have a code.
type FeatureInfo struct {
	Name     string
	Code     string   // the code of the demo's table
	Argument Argument // what may be dialled behind the code
}

// Argument says what may be dialled behind a feature's code.
type Argument int

// The arguments.
const (
	NoArgument Argument = iota
	MayHave             // *72 alone, or *72 8002
	MustHave            // **8002
)

// features is the one table of what can have a code. The codes are those that people know from
// other exchanges; configs/linehall.yaml writes them out.
var features = []FeatureInfo{ //nolint:gochecknoglobals // a constant table
	{"barge", "*41", MustHave},             // talk in a call of an extension
	{"block_anonymous", "*77", NoArgument}, // refuse callers without a number
	{"block_anonymous_off", "*87", NoArgument},
	{"boss_secretary", "*61", NoArgument}, // on and off: calls to the boss ring the secretary
	{"call_back", "*69", NoArgument},      // call whoever called last
	{"call_completion", "*66", MayHave},   // ring me when that number is free; alone: the one dialled last
	{"call_completion_off", "*86", MayHave},
	{"call_waiting", "*70", NoArgument},   // on and off
	{"claim", "*49", MustHave},            // this phone, which has a number of the pool, becomes that extension
	{"do_not_disturb", "*76", NoArgument}, // on and off
	{"do_not_disturb_off", "*79", NoArgument},
	{"do_not_disturb_on", "*78", NoArgument},
	{"echo_test", "*43", NoArgument},    // hear oneself
	{"forced_release", "*48", MustHave}, // end the calls of an extension
	{"forward_always", "*72", MayHave},  // alone: to the number set before
	{"forward_always_off", "*73", NoArgument},
	{"forward_busy", "*90", MayHave},
	{"forward_busy_off", "*91", NoArgument},
	{"forward_no_answer", "*52", MayHave},
	{"forward_no_answer_off", "*53", NoArgument},
	{"forward_off", "*74", NoArgument}, // every forward
	{"forward_unreachable", "*54", MayHave},
	{"forward_unreachable_off", "*55", NoArgument},
	{"group_in", "*45", MayHave}, // into a group; alone: into all of one's own
	{"group_out", "*46", MayHave},
	{"group_pickup", "*8", NoArgument},
	{"hide_number", "*67", MustHave}, // call that number without showing one's own
	{"hot_desk_in", "*11", MustHave},
	{"hot_desk_out", "*12", NoArgument},
	{"intercom", "*80", MustHave},
	{"listen", "*42", MustHave}, // hear a call of an extension
	{"park", "*85", MayHave},
	{"pickup", "**", MustHave},
	{"record", "*22", NoArgument},  // begin or end the recording of one's call; as keys in the call as well
	{"speed_dial", "*0", MustHave}, // a terminal's own short numbers
	{"speed_dial_store", "*75", MustHave},
	{"status", "*68", NoArgument}, // what is switched on here
	{"voicemail", "*97", MayHave},
	{"whisper", "*44", MustHave}, // be heard in a call by its extension alone
}

// Features returns the table of features, by name.
func Features() []FeatureInfo { return slices.Clone(features) }

// FeatureNames lists the features that can have a code.
func FeatureNames() []string {
	names := make([]string, 0, len(features))
	for _, f := range features {
		names = append(names, f.Name)
	}
	return names
}

func featureOf(name string) (FeatureInfo, bool) {
	i := slices.IndexFunc(features, func(f FeatureInfo) bool { return f.Name == name })
	if i < 0 {
		return FeatureInfo{}, false
	}
	return features[i], true
}

// feature finds the code that a number begins with; the longest wins.
func (p *Plan) feature(number string) (name, code, argument string, ok bool) {
	for c, n := range p.features {
		rest, begins := strings.CutPrefix(number, c)
		info, _ := featureOf(n)
		if !begins || len(c) <= len(code) || (rest != "" && info.Argument == NoArgument) || !argumentLike(rest) {
			continue
		}
		name, code, argument, ok = n, c, rest, true
	}
	return name, code, argument, ok
}

// argumentLike accepts what keys of a phone can add: numbers, with * between several and # at the end.
func argumentLike(s string) bool { return strings.Trim(s, "0123456789*#+") == "" }

// overlap reports a code that hides another: *8 with an argument would take *80.
func overlap(a FeatureInfo, codeA, codeB string) bool {
	return a.Argument != NoArgument && codeA != codeB && strings.HasPrefix(codeB, codeA)
}
