package subscribe

import (
	"container/heap"
	"time"
)

// queue orders subscriptions by their next event. Its zero value is empty.
type queue struct{ heap subHeap }

func (q *queue) set(sub *subscription, at time.Time) {
	sub.at = at
	if sub.position >= 0 {
		heap.Fix(&q.heap, sub.position)
		return
	}
	heap.Push(&q.heap, sub)
}

func (q *queue) drop(sub *subscription) {
	if sub.position >= 0 {
		heap.Remove(&q.heap, sub.position)
	}
}

// first is the subscription whose event is next, or nil.
func (q *queue) first() *subscription {
	if len(q.heap) == 0 {
		return nil
	}
	return q.heap[0]
}

type subHeap []*subscription

func (h subHeap) Len() int           { return len(h) }
func (h subHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h subHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].position, h[j].position = i, j
}

func (h *subHeap) Push(x any) {
	sub := x.(*subscription) //nolint:errcheck,forcetypeassert // only queue pushes
	sub.position = len(*h)
	*h = append(*h, sub)
}

func (h *subHeap) Pop() any {
	old := *h
	sub := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	sub.position = -1
	return sub
}
