package signal_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"strings"
	"testing"

	"linehall/sfu/signal"
)

func picture(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, height)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAStillIsAWholeSmallJPEG(t *testing.T) {
	good := picture(t, 320, 180)
	for name, tc := range map[string]struct {
		jpeg []byte
		want string
	}{
		"a picture":     {good, ""},
		"cut off":       {good[:len(good)-2], "no JPEG"},
		"text":          {[]byte("<svg onload=alert(1)>"), "no JPEG"},
		"a JPEG's ends": {[]byte{0xff, 0xd8, 0xff, 0xd9}, "no JPEG"},
		"nothing":       {nil, "no JPEG"},
		"too large":     {picture(t, 720, 100), "of 720x100"},
		"too long":      {append(append([]byte{}, good[:len(good)-2]...), append(make([]byte, signal.MaxStill), 0xff, 0xd9)...), "octets"},
	} {
		t.Run(name, func(t *testing.T) {
			frame, err := json.Marshal(map[string]any{"type": "still", "jpeg": tc.jpeg})
			if err != nil {
				t.Fatal(err)
			}
			_, err = signal.Decode(frame)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
