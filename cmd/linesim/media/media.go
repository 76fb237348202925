// Package media holds the picture and sound that native venues publish: short loops encoded beforehand by
// generate.sh, so that a machine without any encoder shows six venues at full rate for a few per cent of CPU.
//
// Each venue has its own background colour and its own two tones, and both can be recognised at the other end: the
// colour in a decoded VP8 keyframe (RFC 6386; inter frames are not decoded), the voice by its Opus payloads, which a
// forwarding server does not touch.
//
//	venue := media.Number("branch1")
//	loop := media.Camera(venue, media.High)
//	for _, frame := range loop.Frames { ... }
//
// Everything returned is shared and must not be written to.
package media

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"image"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
	"golang.org/x/image/vp8"
)

//go:embed loops
var loops embed.FS

// Venues is how many venues have loops of their own.
const Venues = 6

// FramesPerSecond of every camera loop.
const FramesPerSecond = 30

// Layer is a simulcast step.
type Layer uint8

// The layers, lowest first: 320×180, 640×360, 1280×720.
const (
	Low Layer = iota
	Middle
	High
)

// RID returns the restriction identifier of a layer (RFC 8851), as browsers of this room use it.
func (l Layer) RID() string { return [...]string{"l", "m", "h"}[l] }

// Layers lists all, lowest first.
func Layers() []Layer { return []Layer{Low, Middle, High} }

// Frame is one encoded picture.
type Frame struct {
	Data     []byte
	Key      bool
	Temporal uint8 // 1: no other frame refers to it
}

// Loop is an endless film.
type Loop struct {
	Width, Height int
	Frames        []Frame
	BitrateBps    int // of all temporal layers
	BaseBps       int // of temporal layer 0 alone
}

type library struct {
	cameras [Venues][3]Loop
	voices  [Venues][][]byte
	silence [][]byte
	whose   map[string]int
	colours [Venues][3]float64
}

// load parses the embedded files once.
var load = sync.OnceValues(func() (*library, error) { // immutable after the first use
	lib := &library{whose: make(map[string]int)}
	for venue := range Venues {
		for _, layer := range Layers() {
			loop, err := readLoop(fmt.Sprintf("loops/venue%d-%s.ivf", venue, layer.RID()))
			if err != nil {
				return nil, err
			}
			lib.cameras[venue][layer] = loop
		}
		voice, err := readOpus(fmt.Sprintf("loops/venue%d-voice.ogg", venue))
		if err != nil {
			return nil, err
		}
		lib.voices[venue] = voice
		for _, packet := range voice {
			lib.whose[string(packet)] = venue
		}
		colour, err := background(lib.cameras[venue][Low].Frames[0].Data)
		if err != nil {
			return nil, err
		}
		lib.colours[venue] = colour
	}
	var err error
	lib.silence, err = readOpus("loops/silence.ogg")
	return lib, err
})

// must is for the embedded files: tests read all of them, so an error here is a broken build.
func must() *library {
	lib, err := load()
	if err != nil {
		panic(err)
	}
	return lib
}

// Number gives a venue identifier its loops: headquarters 0, branch1 to branch5 1 to 5, others by hash.
func Number(venue string) int {
	if venue == "hq" {
		return 0
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(venue, "branch")); err == nil && n > 0 {
		return n % Venues
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(venue)) // never fails
	return int(h.Sum32() % Venues)
}

// Camera returns a venue's film in one layer.
func Camera(venue int, layer Layer) *Loop { return &must().cameras[venue%Venues][layer] }

// Voice returns a venue's Opus packets of 20 ms.
func Voice(venue int) [][]byte { return must().voices[venue%Venues] }

// Silence returns Opus packets of 20 ms of nothing.
func Silence() [][]byte { return must().silence }

// WhoseVoice tells which venue an Opus payload comes from.
func WhoseVoice(payload []byte) (venue int, ok bool) {
	venue, ok = must().whose[string(payload)]
	return venue, ok
}

// WhosePicture decodes a VP8 keyframe and tells which venue's background colour it has.
func WhosePicture(keyframe []byte) (venue int, ok bool) {
	got, err := background(keyframe)
	if err != nil {
		return 0, false
	}
	const near = 20 * 20 // compression moves a flat colour by a few steps of 255
	for venue, want := range must().colours {
		distance := 0.0
		for i := range got {
			distance += (got[i] - want[i]) * (got[i] - want[i])
		}
		if distance < near {
			return venue, true
		}
	}
	return 0, false
}

// Colour returns a venue's background as red, green, blue (0..255).
func Colour(venue int) [3]float64 { return must().colours[venue%Venues] }

// background averages the left edge of a keyframe, which the moving pattern never touches.
func background(keyframe []byte) ([3]float64, error) {
	d := vp8.NewDecoder()
	d.Init(bytes.NewReader(keyframe), len(keyframe))
	header, err := d.DecodeFrameHeader()
	if err != nil {
		return [3]float64{}, fmt.Errorf("VP8 header: %w", err)
	}
	if !header.KeyFrame {
		return [3]float64{}, errors.New("not a keyframe")
	}
	picture, err := d.DecodeFrame()
	if err != nil {
		return [3]float64{}, fmt.Errorf("VP8 frame: %w", err)
	}
	return average(picture), nil
}

func average(picture *image.YCbCr) [3]float64 {
	var sum [3]float64
	n := 0.0
	b := picture.Bounds()
	for y := b.Min.Y + b.Dy()/8; y < b.Max.Y-b.Dy()/4; y += 4 {
		for x := b.Min.X + b.Dx()/32; x < b.Min.X+b.Dx()/8; x += 4 {
			r, g, bl, _ := picture.YCbCrAt(x, y).RGBA()
			sum[0] += float64(r >> 8)
			sum[1] += float64(g >> 8)
			sum[2] += float64(bl >> 8)
			n++
		}
	}
	for i := range sum {
		sum[i] /= max(n, 1)
	}
	return sum
}

func readLoop(name string) (Loop, error) {
	data, err := loops.ReadFile(name)
	if err != nil {
		return Loop{}, fmt.Errorf("media: %w", err)
	}
	r, header, err := ivfreader.NewWith(bytes.NewReader(data))
	if err != nil {
		return Loop{}, fmt.Errorf("media: %s: %w", name, err)
	}
	loop := Loop{Width: int(header.Width), Height: int(header.Height)}
	all, base := 0, 0
	for {
		data, _, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Loop{}, fmt.Errorf("media: %s: %w", name, err)
		}
		frame := Frame{Data: data, Key: data[0]&1 == 0, Temporal: uint8(len(loop.Frames) & 1)}
		loop.Frames = append(loop.Frames, frame)
		all += len(data)
		if frame.Temporal == 0 {
			base += len(data)
		}
	}
	if len(loop.Frames) == 0 || !loop.Frames[0].Key {
		return Loop{}, fmt.Errorf("media: %s does not begin with a keyframe", name)
	}
	loop.BitrateBps = all * 8 * FramesPerSecond / len(loop.Frames)
	loop.BaseBps = base * 8 * FramesPerSecond / len(loop.Frames)
	return loop, nil
}

// readOpus reads the packets of a file that has one per Ogg page (RFC 7845; generate.sh asks for that).
func readOpus(name string) ([][]byte, error) {
	data, err := loops.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	r, _, err := oggreader.NewWith(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("media: %s: %w", name, err)
	}
	var packets [][]byte
	for {
		page, _, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("media: %s: %w", name, err)
		}
		if bytes.HasPrefix(page, []byte("OpusTags")) || len(page) == 0 {
			continue
		}
		packets = append(packets, page)
	}
	if len(packets) == 0 {
		return nil, fmt.Errorf("media: %s holds no packet", name)
	}
	return packets, nil
}
