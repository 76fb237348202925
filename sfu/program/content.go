package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Content is a file to be read; it is closed after that.
type Content struct {
	io.ReadSeeker

	Name, Type string
	Modified   time.Time
	close      func() error
}

// Close ends reading.
func (c *Content) Close() error { return c.close() }

// Open opens a finished part as Matroska.
func (s *Service) Open(ctx context.Context, id string, number int) (*Content, error) {
	v, p, err := s.volumeOf(ctx, id, number)
	if err != nil {
		return nil, err
	}
	return &Content{
		ReadSeeker: io.NewSectionReader(v, 0, v.size), Name: p.File, Type: "video/x-matroska", Modified: *p.EndedAt, close: v.Close,
	}, nil
}

// Sound opens the mixed sound of a finished part as a WAV file, which is made while it is read.
func (s *Service) Sound(ctx context.Context, id string, number int) (*Content, error) {
	v, p, err := s.volumeOf(ctx, id, number)
	if err != nil {
		return nil, err
	}
	w, err := newSound(v)
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return &Content{ReadSeeker: w, Name: fmt.Sprintf("%s-%d.wav", id, number), Type: "audio/wav", Modified: *p.EndedAt, close: v.Close}, nil
}

// OpenExport opens what an export has made.
func (s *Service) OpenExport(ctx context.Context, id, export string) (*Content, error) {
	e, err := s.export(ctx, id, export)
	if err != nil {
		return nil, err
	}
	if e.State != ExportDone {
		return nil, ErrUnfinished
	}
	info, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	v, err := openVolume(s.path(e.File, info.StartedAt), s.o.Secrets, false)
	if err != nil {
		return nil, err
	}
	return &Content{ReadSeeker: io.NewSectionReader(v, 0, v.size), Name: e.File, Type: "video/" + e.Format, Modified: e.CreatedAt, close: v.Close}, nil
}

func (s *Service) volumeOf(ctx context.Context, id string, number int) (*volume, Part, error) {
	p, err := s.Part(ctx, id, number)
	if err != nil {
		return nil, p, err
	}
	if p.EndedAt == nil {
		return nil, p, ErrUnfinished
	}
	info, err := s.Get(ctx, id)
	if err != nil {
		return nil, p, err
	}
	v, err := openVolume(s.path(p.File, info.StartedAt), s.o.Secrets, false)
	return v, p, err
}
