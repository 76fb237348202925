package room

import "testing"

func TestFirefoxIsSentAV1FromTheVersionOnThatShowsIt(t *testing.T) {
	for agent, unsafe := range map[string]bool{
		"Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0":                                true,
		"Mozilla/5.0 (X11; Linux x86_64; rv:157.0) Gecko/20100101 Firefox/157.0":                                false,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36": false,
		"Mozilla/5.0 (X11) Firefox/next": true,
		"linesim":                        false,
	} {
		if got := unsafeAV1(agent); got != unsafe {
			t.Errorf("%s: %v", agent, got)
		}
	}
}
