package configs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/configs"
)

func load(t *testing.T, options configs.Options) configs.Config {
	t.Helper()
	config, err := configs.Load(options)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestLayersWinInOrder(t *testing.T) {
	const path = "testdata/small.good.yaml"
	if got := load(t, configs.Options{Path: path}).Security.Session.Idle; got != 10*time.Minute {
		t.Errorf("the file says 10m, got %s", got)
	}
	t.Setenv("LINEHALL_SECURITY_SESSION_IDLE", "20m")
	t.Setenv("LINEHALL_LISTEN_SIP_TCP", "")
	t.Setenv("LINEHALL_LISTEN_RTP_PORTS", "20000-20999")
	t.Setenv("LINEHALL_TERMINALS_ADMIN_PASSWORD_FILE", "testdata/password.txt")
	config := load(t, configs.Options{Path: path, Flags: map[string]string{"appliance.data": "/tmp/x"}})
	got := []string{
		config.Security.Session.Idle.String(), string(config.Listen.SIPTCP), config.Listen.RTP.Ports.String(), config.Appliance.Data,
		config.Terminals.AdminPassword.Reveal(), config.Appliance.TimeZone,
	}
	if diff := cmp.Diff([]string{"20m0s", "", "20000-20999", "/tmp/x", "Lindong2026", "Asia/Shanghai"}, got); diff != "" {
		t.Errorf("environment over file (-want +got):\n%s", diff)
	}
	config = load(t, configs.Options{Path: path, Flags: map[string]string{"security.session.idle": "25m"}})
	if config.Security.Session.Idle != 25*time.Minute {
		t.Errorf("flag over environment: got %s", config.Security.Session.Idle)
	}
}

func TestMistakesInLayersNameTheirSource(t *testing.T) {
	t.Setenv("LINEHALL_LISTEN_SIP_UDP", "5060")
	t.Setenv("LINEHALL_LISTEN_SIP_UPD", ":5060")
	t.Setenv("LINEHALL_TERMINALS_ADMIN_PASSWORD_FILE", "testdata/nofile.txt")
	var got []string
	for _, p := range configs.Check(configs.Options{
		Path: "testdata/small.good.yaml", Flags: map[string]string{"appliance.dta": "/x", "security.lockout.attempts": "many"},
	}) {
		got = append(got, p.String())
	}
	if diff := cmp.Diff([]string{
		`--appliance.dta:1:1: unknown setting; did you mean "appliance.data"?`,
		`--security.lockout.attempts:1:1: "many" is no whole number`,
		`LINEHALL_LISTEN_SIP_UDP:1:1: address "5060" is a bare port; did you mean ":5060"?`,
		`LINEHALL_LISTEN_SIP_UPD:1:1: unknown environment variable; did you mean "LINEHALL_LISTEN_SIP_UDP"?`,
		`LINEHALL_TERMINALS_ADMIN_PASSWORD_FILE:1:1: file testdata/nofile.txt does not exist`,
	}, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestSecretsAreReadFromFilesAndNeverPrinted(t *testing.T) {
	config := load(t, configs.Options{Path: "testdata/small.good.yaml"})
	pin := config.Conference.Rooms[0].PIN
	if pin.Reveal() != "4711" {
		t.Errorf("PIN %q", pin.Reveal())
	}
	if text := cmp.Diff(nil, any(config.Conference.Rooms[0].PIN.String())); strings.Contains(text, "4711") {
		t.Error("the PIN prints itself")
	}
}

// edited copies the demo organisation to a folder of the test and changes it.
func edited(t *testing.T, changes ...string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"linehall.yaml", "terminals.csv"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		for i := 0; i < len(changes); i += 2 {
			text = strings.Replace(text, changes[i], changes[i+1], 1)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "linehall.yaml")
}

func TestReloadSaysWhatChanged(t *testing.T) {
	running := load(t, configs.Options{Path: "linehall.yaml"})
	for _, tc := range []struct {
		name    string
		changes []string
		want    []string
	}{
		{"nothing", nil, nil},
		{"a comment moves everything", []string{"appliance:", "# 注释\n\nappliance:"}, nil},
		{"a line's rate", []string{"up: 2Mbps", "up: 3Mbps"}, []string{"sites"}},
		{"a terminal's name", []string{"值班室1", "值班台"}, []string{"terminals"}},
		{"two sections", []string{"voices: 3", "voices: 4", "level: info", "level: warn"}, []string{"conference", "observability"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := edited(t, tc.changes...)
			same := load(t, configs.Options{Path: edited(t)})
			same.Terminals.File, same.Terminals.Templates = filepath.Join(filepath.Dir(path), "terminals.csv"), filepath.Join(filepath.Dir(path), "templates")
			_, changes, err := configs.Reload(same, configs.Options{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, changes.Sections); diff != "" {
				t.Errorf("sections (-want +got):\n%s", diff)
			}
		})
	}
	if !configs.Compare(running, load(t, configs.Options{Path: edited(t)})).Changed("terminals") {
		t.Error("another list of terminals is no change")
	}
}

// lineOf is the line that holds the text; new keys above it are nobody's mistake.
func lineOf(t *testing.T, path, text string) int {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(content), text)
	if !found {
		t.Fatalf("no %q in %s", text, path)
	}
	return strings.Count(before, "\n") + 1
}

func TestReloadRefusesWhatNeedsARestart(t *testing.T) {
	running := load(t, configs.Options{Path: "linehall.yaml"})
	path := edited(t, `sip_udp: ":5060"`, `sip_udp: ":5070"`, "data: ./data", "data: ./other", "idle: 30m", "idle: 20m")
	_, _, err := configs.Reload(running, configs.Options{Path: path})
	var failed *configs.Error
	if !errors.As(err, &failed) || len(failed.Problems) != 3 {
		t.Fatalf("got %v", err)
	}
	got := strings.ReplaceAll(failed.Error(), path, "FILE")
	want := `FILE:12:9: appliance.data changed from "./data" to "./other"; that needs a restart` + "\n" +
		`FILE:19:12: listen.sip_udp changed from ":5060" to ":5070"; that needs a restart` + "\n" +
		fmt.Sprintf("FILE:%d:11: ", lineOf(t, path, "idle: 20m")) + `security.session.idle changed from "30m0s" to "20m0s"; that needs a restart`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestReloadOfABadFileListsItsProblems(t *testing.T) {
	running := load(t, configs.Options{Path: "linehall.yaml"})
	_, _, err := configs.Reload(running, configs.Options{Path: "testdata/unknown_key.bad.yaml"})
	var failed *configs.Error
	if !errors.As(err, &failed) || !strings.Contains(failed.Error(), `did you mean "sip_udp"?`) {
		t.Errorf("got %v", err)
	}
}
