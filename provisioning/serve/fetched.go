package serve

import "sync"

// fetches tells who waits for it that a phone has got its whole file.
type fetches struct {
	mu      sync.Mutex // guards waiting
	waiting map[string]chan struct{}
}

// next is closed at the next delivery to the phone; those who wait for the
// same phone share it, so there are never more than phones.
func (f *fetches) next(mac string) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == nil {
		f.waiting = map[string]chan struct{}{}
	}
	if f.waiting[mac] == nil {
		f.waiting[mac] = make(chan struct{})
	}
	return f.waiting[mac]
}

func (f *fetches) happened(mac string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.waiting[mac]; c != nil {
		close(c)
		delete(f.waiting, mac)
	}
}

// Fetched is closed when the phone has got its whole file, after this call.
func (s *Server) Fetched(mac string) <-chan struct{} { return s.fetches.next(mac) }
