package schedule

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxFeeds bounds how many calendars may be subscribed to.
const maxFeeds = 500

// Feed is a calendar that a program subscribes to; whoever knows its token may read it.
type Feed struct {
	ID        string
	Room      string // "": all rooms
	Venue     string // "": whoever takes part; else the meetings to which this venue is called
	CreatedBy string
	CreatedAt time.Time
}

// MakeFeed makes a calendar and its token, which is told once and not kept.
func (s *Service) MakeFeed(ctx context.Context, room, venue, by string) (Feed, string, error) {
	list, err := s.store.feeds(ctx)
	if err != nil {
		return Feed{}, "", err
	}
	if len(list) >= maxFeeds {
		return Feed{}, "", fmt.Errorf("there are %d calendars: revoke old ones first", maxFeeds)
	}
	token := strings.ToLower(rand.Text()) // 130 bits
	f := Feed{ID: "f" + strings.ToLower(rand.Text()[:8]), Room: room, Venue: venue, CreatedBy: by, CreatedAt: s.now().Truncate(time.Second)}
	return f, token, s.store.addFeed(ctx, f, digest(token))
}

func digest(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// Feeds lists the calendars.
func (s *Service) Feeds(ctx context.Context) ([]Feed, error) { return s.store.feeds(ctx) }

// RevokeFeed ends a calendar.
func (s *Service) RevokeFeed(ctx context.Context, id string) error {
	return s.store.removeFeed(ctx, id)
}

// Feed writes the calendar that a token is for.
func (s *Service) Feed(ctx context.Context, token string, links Links) ([]byte, error) {
	f, err := s.store.feed(ctx, digest(token))
	if err != nil {
		return nil, err
	}
	list := s.List(f.Room)
	if f.Venue != "" {
		list = slices.DeleteFunc(list, func(one *Series) bool { return !slices.Contains(one.Venues, f.Venue) })
	}
	return s.Calendar(list, s.calendarName(f), links), nil
}

// calendarName is what calendar programs call it.
func (s *Service) calendarName(f Feed) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.rooms {
		for _, v := range r.Venues {
			if f.Venue == v.ID && (f.Room == "" || f.Room == r.Number) {
				return v.Name
			}
		}
		if f.Venue == "" && r.Number == f.Room {
			return r.Name
		}
	}
	return f.Room + f.Venue
}
