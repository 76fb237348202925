package schedule

import "time"

// SetNow gives the service another clock.
func (s *Service) SetNow(now func() time.Time) { s.now = now }
