package stack

import "sync"

// clientTable holds the client transactions by key (RFC 3261 §17.1.3).
type clientTable struct {
	mu     sync.Mutex // guards the fields below
	byKey  map[string]*ClientTx
	closed bool
}

func newClientTable() *clientTable { return &clientTable{byKey: make(map[string]*ClientTx)} }

func (ct *clientTable) put(t *ClientTx) bool {
	ct.mu.Lock()
	defer ct.mu.Unlock()
	if _, taken := ct.byKey[t.key]; taken || ct.closed {
		return false
	}
	ct.byKey[t.key] = t
	return true
}

func (ct *clientTable) get(key string) *ClientTx {
	ct.mu.Lock()
	defer ct.mu.Unlock()
	return ct.byKey[key]
}

func (ct *clientTable) drop(t *ClientTx) {
	ct.mu.Lock()
	defer ct.mu.Unlock()
	if ct.byKey[t.key] == t {
		delete(ct.byKey, t.key)
	}
}

func (ct *clientTable) size() int {
	ct.mu.Lock()
	defer ct.mu.Unlock()
	return len(ct.byKey)
}

func (ct *clientTable) each(f func(*ClientTx)) {
	ct.mu.Lock()
	all := make([]*ClientTx, 0, len(ct.byKey))
	for _, t := range ct.byKey {
		all = append(all, t)
	}
	ct.mu.Unlock()
	for _, t := range all {
		f(t)
	}
}

func (ct *clientTable) terminateAll(err error) {
	ct.mu.Lock()
	ct.closed = true
	ct.mu.Unlock()
	ct.each(func(t *ClientTx) { t.end(err) })
}

func (ct *clientTable) flowClosed(f Flow) {
	ct.each(func(t *ClientTx) {
		if t.flow == f {
			t.end(ErrFlowGone)
		}
	})
}
