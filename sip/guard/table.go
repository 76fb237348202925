package guard

// table is a map of bounded size: a new key beyond it takes the place of the oldest.
type table[K comparable, V any] struct {
	entries map[K]*V
	order   []K // ring of the keys, the oldest at next once it is full
	next    int
	gone    func(K) // told of a key that had to make room; may be nil
}

func newTable[K comparable, V any](size int) *table[K, V] {
	return &table[K, V]{entries: make(map[K]*V), order: make([]K, 0, size)}
}

// at returns the entry of a key, a new one if need be.
func (t *table[K, V]) at(key K) *V {
	if v := t.entries[key]; v != nil {
		return v
	}
	v := new(V)
	t.entries[key] = v
	if len(t.order) < cap(t.order) {
		t.order = append(t.order, key)
		return v
	}
	oldest := t.order[t.next]
	delete(t.entries, oldest)
	if t.gone != nil {
		t.gone(oldest)
	}
	t.order[t.next] = key
	t.next = (t.next + 1) % len(t.order)
	return v
}
