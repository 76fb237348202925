package auth

// MakeCheap lets tests that are not about the cost of a hash run in milliseconds under the race detector.
func (s *Service) MakeCheap() { s.hasher = newHasher(cost{memoryKiB: 64, time: 1}) }
