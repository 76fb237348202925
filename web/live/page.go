package live

import (
	"cmp"
	"errors"
	"slices"
	"sync"
)

var (
	errForbidden = errors.New("your role sees no live topic")
	errFull      = errors.New("too many pages are open")
	errStopped   = errors.New("the feed has stopped")
)

// page is one open page's mailbox. When the page reads slowly a newer frame of a topic takes the older one's place.
type page struct {
	topics []string
	wake   chan struct{} // holds one: something waits
	ended  chan struct{} // closed: the feed stops
	leave  func()        // removes the page from the feed

	mu      sync.Mutex // guards waiting and reason
	waiting map[string][]byte
	reason  error
}

func newPage(topics []string) *page {
	return &page{topics: topics, wake: make(chan struct{}, 1), ended: make(chan struct{}), waiting: map[string][]byte{}}
}

// put leaves a frame for the page; it never blocks. The frame is shared: nobody writes to it.
func (p *page) put(topic string, encoded []byte) {
	p.mu.Lock()
	p.waiting[topic] = encoded
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default: // it knows already
	}
}

// take returns what waits, in the order of the topics.
func (p *page) take() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, 0, len(p.waiting))
	for topic := range p.waiting {
		names = append(names, topic)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(topicOrder(p.topics, a), topicOrder(p.topics, b)) })
	frames := make([][]byte, 0, len(names))
	for _, topic := range names {
		frames = append(frames, p.waiting[topic])
	}
	clear(p.waiting)
	return frames
}

// end asks the page's writer to close it; the first reason counts.
func (p *page) end(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == nil {
		p.reason = reason
		close(p.ended)
	}
}
