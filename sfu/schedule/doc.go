// Package schedule knows which meetings are planned: once or weekly, in which room, from when to when by the clocks of the
// organisation (time.Location: Asia/Shanghai unless configured), who is called at the start and when they end. It says what a
// room is booked for now ([Service.Booking]) and next, and writes plans as iCalendar (RFC 5545): files and feeds that calendar
// programs subscribe to. It does not open rooms or call anybody: sfu/room asks it and acts.
//
// Times are civil: a weekly meeting at nine is at nine on every day, whatever the offset from UTC then is. There is no magic
// about holidays: a day on which a series does not take place is struck out by hand. [Attend] reads from the minutes of a
// meeting who was there from when to when.
//
// A [Service] may be used from many goroutines at once; it starts none. Plans are in memory and written through to the database.
//
//	s, err := schedule.Open(ctx, db, box)
//	s.Apply(zone, rooms)
//	series, err := s.Create(ctx, schedule.Plan{Room: "9000", Title: "例会", Date: "2026-12-01", Time: "09:00", Minutes: 60}, "admin")
//	booking, ok := s.Booking("9000", time.Now())
package schedule
