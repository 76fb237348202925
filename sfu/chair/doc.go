// Package chair is the order of a meeting: who leads it, who has the floor, whose picture everybody sees, who is muted, who
// may come in. It is the vocabulary of hardware conference systems (request, release and revoke the chair; roll call; view
// and broadcast a venue; give the floor; discussion; floor requests; poll in turn) as a pure state machine.
//
// [Meeting.Do] judges an act and carries it out or refuses it and changes nothing; [Meeting.Tick] does what time brings; both
// return the entries of the minutes. The package has no clock, no goroutines and no sockets: package room owns a Meeting,
// calls it from its goroutine, and makes slots and tracks follow. It is not safe for concurrent use.
//
// People are known by their member key, which outlives connections and restarts: the id of a venue, or "user:anna". That is
// what lets [State], stored after each change, bring chair and floor back.
//
//	m := chair.New("m1", now)
//	m.Joined(chair.Person{Member: "hq", MayChair: true}, now)
//	_, err := m.Do(chair.Act{Name: chair.RequestChair}, chair.Actor{Member: "hq", MayChair: true}, now)
//	m.State().Silent("branch1")
package chair
