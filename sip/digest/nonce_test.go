package digest

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNonceLifetime(t *testing.T) {
	n := newNonces(time.Minute, 10)
	now := time.Unix(1e9, 0)
	text := n.issue(now)
	for _, c := range []struct {
		name string
		text string
		at   time.Time
		want bool
	}{
		{"fresh", text, now.Add(time.Second), true},
		{"from the future", n.issue(now.Add(time.Hour)), now, false},
		{"old", text, now.Add(61 * time.Second), false},
		{"of another process", newNonces(time.Minute, 10).issue(now), now, false},
		{"altered", "A" + text[1:], now, false},
		{"not ours at all", "dcd98b7102dd2f0e8b11d0f600bfb0c093", now, false},
		{"empty", "", now, false},
	} {
		if got := n.use(c.text, 1, c.at); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestNonceWithoutQopIsGoodOnce(t *testing.T) {
	n := newNonces(time.Minute, 10)
	now := time.Now()
	text := n.issue(now)
	for i, want := range []bool{true, false} {
		if got := n.use(text, 0, now); got != want {
			t.Errorf("use %d: %v", i, got)
		}
	}
	if n.use(text, 1, now) || n.use(text, 1<<31, now) || n.use(text, 1<<32-1, now) {
		t.Error("a spent nonce took a count")
	}
}

// TestCountsAgainstASet: no count is ever accepted twice, rising counts always
// are, and the table keeps its size.
func TestCountsAgainstASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4
		n := newNonces(time.Hour, limit)
		now := time.Unix(1e9, 0)
		var texts []string
		used := map[string]map[uint32]bool{}
		highest := map[string]uint32{}
		dead := map[string]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Second)
			if len(texts) == 0 || rapid.IntRange(0, 4).Draw(t, "new") == 0 {
				texts = append(texts, n.issue(now))
			}
			text := rapid.SampledFrom(texts).Draw(t, "nonce")
			count := rapid.Uint32Range(1, 80).Draw(t, "count")
			ok := n.use(text, count, now)
			if used[text] == nil {
				used[text] = map[uint32]bool{}
			}
			switch {
			case ok && used[text][count]:
				t.Fatalf("count %d twice", count)
			case ok && dead[text]:
				t.Fatal("a nonce that was stale came back")
			case !ok && count > highest[text]:
				dead[text] = true // forgotten to make room
			}
			if ok {
				used[text][count] = true
				highest[text] = max(highest[text], count)
			}
			if len(n.used) > limit || len(n.ring) > limit {
				t.Fatalf("%d nonces remembered", len(n.used))
			}
		}
	})
}
