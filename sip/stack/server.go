package stack

import (
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// ServerTx is the server transaction of one request (RFC 3261 §17.2, RFC 6026).
// It may be used from many goroutines.
type ServerTx struct {
	stack  *Stack
	tx     machine // nil for an ACK
	key    string
	merge  string // key of serverTable.merge, of an INVITE
	id     uint64 // tells apart transactions that have had the same key
	method sip.RequestMethod
	req    *sip.Request // the headers that responses repeat, of an INVITE
	flow   Flow
	out    *outlet
	tag    string

	cancelReq *sip.Request  // written before told is called
	done      chan struct{} // of a transaction without tx: closed from the start
	acks      chan *sip.Request

	mu      sync.Mutex // guards the fields below; taken before the machine's
	final   int        // status code of the final response, 0 before
	lost    bool       // CANCEL came first
	told    func()     // of the CANCEL; nil: nobody asked
	alter   func(*sip.Response)
	counted bool
}

// Respond sends a response; the stack keeps it for retransmissions, so the
// caller must not change it afterwards. A response without a To tag gets ours.
// It returns ErrCancelled when the stack has already answered 487, ErrAnswered
// after a final response (a 2xx to INVITE may be repeated, RFC 3261 §13.3.1.4),
// and ErrFlowGone when it cannot leave.
func (t *ServerTx) Respond(res *sip.Response) error {
	if t.tx == nil {
		return fmt.Errorf("%s takes no response: %w", t.method, ErrAnswered)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost {
		return ErrCancelled
	}
	return t.respondLocked(res)
}

// Alter has every response of the transaction changed before it leaves, the stack's own included.
// A response that is sent twice is changed twice. change must not use the transaction.
func (t *ServerTx) Alter(change func(*sip.Response)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alter = change
}

func (t *ServerTx) respondLocked(res *sip.Response) error {
	repeated := res.IsSuccess() && t.final >= 200 && t.final < 300 && t.method == sip.INVITE
	if t.final != 0 && !repeated {
		return ErrAnswered
	}
	if to := res.To(); to != nil && res.StatusCode != sip.StatusTrying && !to.Params.Has("tag") {
		to.Params.Add("tag", t.tag)
	}
	if t.alter != nil {
		t.alter(res)
	}
	if !res.IsProvisional() {
		t.final = res.StatusCode
		if !t.counted {
			t.counted = true
			t.stack.metrics.answered(t.method, res.StatusCode)
		}
	}
	if err := t.tx.Respond(res); err != nil {
		return fmt.Errorf("%s %d to %s: %w", t.method, res.StatusCode, t.flow.Remote, err)
	}
	return nil
}

// OnCancel has f called when the peer has cancelled the INVITE, at once if it has already; the stack has then answered the
// CANCEL with 200 and the INVITE with 487. f is called by the goroutine that reads the socket and must not block.
func (t *ServerTx) OnCancel(f func()) {
	t.mu.Lock()
	late := t.lost
	t.told = f
	t.mu.Unlock()
	if late {
		f()
	}
}

// Cancellation is the CANCEL; it may be asked for from OnCancel on.
func (t *ServerTx) Cancellation() *sip.Request { return t.cancelReq }

// Acks delivers the ACK of a final response other than 2xx. An ACK of a 2xx
// goes to the handler of sip.ACK. The channel is never closed.
func (t *ServerTx) Acks() <-chan *sip.Request { return t.acks }

// Done is closed when the transaction has ended, with or without a response.
func (t *ServerTx) Done() <-chan struct{} {
	if t.tx == nil {
		return t.done
	}
	return t.tx.Done()
}

// Tag is our To tag for the responses of this request.
func (t *ServerTx) Tag() string { return t.tag }

// Final is the status code of the final response, or 0.
func (t *ServerTx) Final() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.final
}

// cancel ends an INVITE without a final response with 487 and reports whether
// it did. RFC 3261 §9.2.
func (t *ServerTx) cancel(req *sip.Request) bool {
	t.mu.Lock()
	if t.final != 0 || t.lost {
		t.mu.Unlock()
		return false
	}
	res := t.stack.newResponse(t.req, t.tag, sip.StatusRequestTerminated, "Request Terminated")
	_ = t.respondLocked(res) // a lost flow ends the transaction by itself
	t.lost = true
	t.cancelReq = req
	told := t.told
	t.mu.Unlock()
	if told != nil {
		told()
	}
	return true
}

// expire ends a transaction that its handler never answered: RFC 4320 forbids
// 408 to a non-INVITE, an INVITE gets one.
func (t *ServerTx) expire() {
	if t.method == sip.INVITE {
		_ = t.Respond(t.stack.newResponse(t.req, t.tag, sip.StatusRequestTimeout, "Request Timeout"))
		return
	}
	t.tx.Terminate()
}

// newTag returns a To or From tag: RFC 3261 §19.3 wants 32 random bits at least.
func newTag() string { return rand.Text()[:16] }

// NewTag returns a random To or From tag, or another identifier of 80 bits.
func NewTag() string { return newTag() }

// serverTable holds the server transactions by key (RFC 3261 §17.2.3).
type serverTable struct {
	mu    sync.Mutex // guards the maps
	byKey map[string]*ServerTx
	merge map[string]string // From tag, Call-ID and CSeq of a pending INVITE → its key, §8.2.2.2
}

func newServerTable() *serverTable {
	return &serverTable{byKey: make(map[string]*ServerTx), merge: make(map[string]string)}
}

func (st *serverTable) get(key string) *ServerTx {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.byKey[key]
}

func (st *serverTable) size() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.byKey)
}

func (st *serverTable) put(t *ServerTx) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.byKey[t.key] = t
	if t.merge != "" {
		st.merge[t.merge] = t.key
	}
}

func (st *serverTable) drop(t *ServerTx) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.byKey[t.key] == t {
		delete(st.byKey, t.key)
	}
	if t.merge != "" && st.merge[t.merge] == t.key {
		delete(st.merge, t.merge)
	}
}

// merged reports whether the INVITE arrived over another path while its twin is
// still unanswered (RFC 3261 §8.2.2.2).
func (st *serverTable) merged(req *sip.Request, key string) bool {
	m := mergeKey(req)
	if m == "" {
		return false
	}
	st.mu.Lock()
	other, ok := st.merge[m]
	twin := st.byKey[other]
	st.mu.Unlock()
	return ok && other != key && twin != nil && twin.Final() == 0
}

func (st *serverTable) all() []*ServerTx {
	st.mu.Lock()
	defer st.mu.Unlock()
	out := make([]*ServerTx, 0, len(st.byKey))
	for _, t := range st.byKey {
		out = append(out, t)
	}
	return out
}

func (st *serverTable) terminateAll() {
	for _, t := range st.all() {
		t.tx.Terminate()
	}
}

func (st *serverTable) flowClosed(f Flow) {
	for _, t := range st.all() {
		if t.flow == f {
			t.tx.Terminate()
		}
	}
}

func mergeKey(req *sip.Request) string {
	if !req.IsInvite() || req.To() == nil || req.To().Params.Has("tag") {
		return ""
	}
	tag, _ := req.From().Params.Get("tag")
	return tag + "\n" + req.CallID().Value() + "\n" + req.CSeq().Value()
}
