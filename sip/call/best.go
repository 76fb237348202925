package call

// bestBranch chooses the response that the caller gets when every branch failed (RFC 3261
// §16.7 step 6): a 6xx if there is one, else the lowest class; within the 4xx the ones that
// tell the caller what to do, else the first. Two deviations serve people at telephones:
// busy beats silence, so that a desk whose one phone is busy and whose other phone is
// unplugged sounds busy; and a line that is full (488) is reported only if no phone rang.
// A 6xx ends only its own extension's branches (machine.failure), but decides here.
// Branches without a final response, because their turn never came or their time was up, do not
// count; -1: there is no other.
func bestBranch(branches []branch) int {
	best := -1
	for i := range branches {
		if branches[i].Code < 300 {
			continue
		}
		if best < 0 || rank(branches[i].Code) < rank(branches[best].Code) {
			best = i
		}
	}
	return best
}

// rank orders final codes, lower first.
func rank(code int) int {
	switch {
	case code >= 600:
		return 0
	case code >= 300 && code < 400:
		return 100
	}
	switch code {
	case 486:
		return 200
	case 488:
		return 210
	case 401, 407, 415, 420, 484: // §16.7: prefer those that influence resubmission
		return 220
	case 482, 483: // a forwarding circle: somebody has to know
		return 225
	case 480:
		return 230
	case 487:
		return 390
	case 408, 430:
		return 380
	}
	if code < 500 {
		return 300
	}
	return 400
}

// relayedCode maps a callee's final code to what the caller is told. The caller must never
// fail over to another server for a phone's sake (503), nor answer a phone's challenge.
func relayedCode(code int) int {
	switch code {
	case 408, 430: // the phone is registered but silent, or its connection is gone
		return 480
	case 422: // a phone that wants longer session intervals than anybody needs
		return 480
	case 401, 407: // a phone that challenges its own exchange cannot be called
		return 480
	case 503: // RFC 3261 §16.7 step 6
		return 500
	case 487: // cancelled by ourselves: Timer C
		return 480
	}
	return code
}
