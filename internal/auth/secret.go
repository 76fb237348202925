package auth

import "context"

// Hash turns a short secret, like a telephone's PIN, into what may be stored. It takes a place
// among the log-ins that are checked at once; ErrBusy says that there is none.
func (s *Service) Hash(ctx context.Context, secret string) (string, error) {
	return s.hasher.hash(ctx, secret)
}

// Fits compares a secret with what Hash returned. An empty hash takes as long as a real one and
// never fits. Counting failures is the caller's affair.
func (s *Service) Fits(ctx context.Context, hash, secret string) (bool, error) {
	return s.hasher.fits(ctx, hash, secret)
}
