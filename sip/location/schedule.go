package location

import (
	"container/heap"
	"time"
)

// schedule knows when the next binding of each AOR expires: a heap with one
// entry per AOR, moved when its time changes.
type schedule struct {
	heap  dueHeap
	byAOR map[string]*dueEntry
}

type dueEntry struct {
	aor string
	at  time.Time
	pos int
}

func newSchedule() *schedule { return &schedule{byAOR: make(map[string]*dueEntry)} }

func (s *schedule) set(aor string, at time.Time) {
	if e := s.byAOR[aor]; e != nil {
		e.at = at
		heap.Fix(&s.heap, e.pos)
		return
	}
	e := &dueEntry{aor: aor, at: at}
	s.byAOR[aor] = e
	heap.Push(&s.heap, e)
}

func (s *schedule) next() (time.Time, bool) {
	if len(s.heap) == 0 {
		return time.Time{}, false
	}
	return s.heap[0].at, true
}

// pop removes and returns the AORs that are due.
func (s *schedule) pop(now time.Time) []string {
	var out []string
	for len(s.heap) > 0 && !s.heap[0].at.After(now) {
		e := heap.Pop(&s.heap).(*dueEntry) //nolint:errcheck,forcetypeassert // the heap holds nothing else
		delete(s.byAOR, e.aor)
		out = append(out, e.aor)
	}
	return out
}

type dueHeap []*dueEntry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

func (h *dueHeap) Push(x any) {
	e := x.(*dueEntry) //nolint:errcheck,forcetypeassert // only schedule pushes
	e.pos = len(*h)
	*h = append(*h, e)
}

func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
