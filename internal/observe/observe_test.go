package observe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"linehall/internal/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoggerFormats(t *testing.T) {
	var buf bytes.Buffer
	log, err := observe.NewLogger(&buf, observe.FormatJSON, slog.LevelInfo)
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("hidden")
	log.Info("call answered", slog.String(observe.CallID, "abc"))
	var line map[string]any
	if err := json.Unmarshal(buf.Bytes(), &line); err != nil || line["call_id"] != "abc" || line["msg"] != "call answered" {
		t.Errorf("line %s: %v", buf.String(), err)
	}
	if _, err := observe.NewLogger(&buf, "xml", slog.LevelInfo); err == nil {
		t.Error("no error for format xml")
	}
}

func TestParseLevel(t *testing.T) {
	for text, want := range map[string]slog.Level{"": slog.LevelInfo, "debug": slog.LevelDebug, "WARN": slog.LevelWarn} {
		if got, err := observe.ParseLevel(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := observe.ParseLevel("loud"); err == nil {
		t.Error("no error for level loud")
	}
}

func TestDropped(t *testing.T) {
	reg := observe.NewRegistry()
	d := observe.NewDropped(reg)
	d.Count("sip_udp", "malformed")
	d.Counter("sip_udp", "malformed").Inc()
	want := `# HELP linehall_dropped_total Packets, messages, connections and requests thrown away, by listener and reason.
# TYPE linehall_dropped_total counter
linehall_dropped_total{listener="sip_udp",reason="malformed"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "linehall_dropped_total"); err != nil {
		t.Error(err)
	}
	var none *observe.Dropped
	none.Count("x", "y")
	none.Counter("x", "y").Inc()
}

func TestRecoverCountsAndLogs(t *testing.T) {
	var buf bytes.Buffer
	log, err := observe.NewLogger(&buf, observe.FormatText, slog.LevelInfo)
	if err != nil {
		t.Fatal(err)
	}
	panics := observe.NewPanics(observe.NewRegistry())
	func() {
		defer observe.Recover(log, panics, "call")
		panic("boom")
	}()
	func() { defer observe.Recover(log, nil, "call") }()
	if got := testutil.ToFloat64(panics); got != 1 {
		t.Errorf("%v panics counted", got)
	}
	if text := buf.String(); !strings.Contains(text, "reason=boom") || !strings.Contains(text, "observe_test.go") {
		t.Errorf("log has neither reason nor stack: %s", text)
	}
}

func TestReadyNamesWhatIsMissing(t *testing.T) {
	h := observe.NewHealth()
	get := func(path string) (int, string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, _ := get("/readyz"); code != http.StatusOK {
		t.Errorf("empty health: %d", code)
	}
	up := false
	h.Add("sip", func() error {
		if !up {
			return errors.New("listeners are not up")
		}
		return nil
	})
	h.Add("database", func() error { return nil })
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"sip","reason":"listeners are not up"}`) {
		t.Errorf("not ready: %d %s", code, body)
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("healthz while not ready: %d", code)
	}
	up = true
	if code, _ := get("/readyz"); code != http.StatusOK || !h.Ready() {
		t.Errorf("ready: %d", code)
	}
}

func TestServerServesUntilTheEnd(t *testing.T) {
	reg := observe.NewRegistry()
	srv := observe.NewServer(observe.ServerOptions{
		Address: "127.0.0.1:0", Gatherer: reg, Health: observe.NewHealth(), Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	addr := srv.Addr(t.Context())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr.String()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil || !strings.Contains(string(body), "go_goroutines") {
		t.Errorf("metrics: %v, %d bytes", err, len(body))
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := client.Do(req); err == nil {
		t.Error("still serving after the end")
	}
	if err := observe.NewServer(observe.ServerOptions{
		Address: "256.0.0.1:1", Gatherer: reg, Health: observe.NewHealth(), Log: slog.New(slog.DiscardHandler),
	}).Run(t.Context()); err == nil {
		t.Error("no error for a bad address")
	}
}
