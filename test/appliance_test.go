package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"linehall/internal/lab"
)

// repository is the root of the checkout, seen from this package's folder.
const repository = ".."

// appliance is a running `linehall serve` with a configuration and a data directory of its own.
type appliance struct {
	t       *testing.T
	dir     string // holds linehall.yaml, terminals.csv and data/
	config  string
	data    string
	ports   ports
	command *exec.Cmd
	output  *lockedBuffer
	exited  chan struct{}
	http    *http.Client
	host    *lab.Host // the network it lives in; nil = here
	dns     string    // a resolv.conf(5) of its own; "" = the machine's
}

type ports struct{ sip, tls, https, provisioning, tftp, metrics, media, rtpFirst, rtpLast int }

// settings is the configuration as a tree, to be changed by a test before the start.
type settings map[string]any

// set puts value at a dotted path of existing sections.
func (s settings) set(path string, value any) {
	parts := strings.Split(path, ".")
	node := map[string]any(s)
	for _, part := range parts[:len(parts)-1] {
		next, isMap := node[part].(map[string]any)
		if !isMap {
			next = map[string]any{}
			node[part] = next
		}
		node = next
	}
	node[parts[len(parts)-1]] = value
}

// startAppliance starts the demo organisation on free ports of host (127.0.0.1 unless a change says otherwise).
func startAppliance(t *testing.T, changes ...func(settings, *appliance)) *appliance {
	t.Helper()
	a := prepareAppliance(t, changes...)
	a.start()
	return a
}

// prepareAppliance writes the configuration and does not start anything.
func prepareAppliance(t *testing.T, changes ...func(settings, *appliance)) *appliance {
	t.Helper()
	dir := t.TempDir()
	a := &appliance{
		t: t, dir: dir, config: filepath.Join(dir, "linehall.yaml"), data: filepath.Join(dir, "data"), ports: freePorts(t),
		http: &http.Client{Timeout: 10 * time.Second},
	}
	demo, err := os.ReadFile(filepath.Join(repository, "configs", "linehall.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tree := settings{}
	if err := yaml.Unmarshal(demo, &tree); err != nil {
		t.Fatalf("demo configuration: %v", err)
	}
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	tree.set("appliance.data", a.data)
	for key, port := range map[string]int{
		"sip_udp": a.ports.sip, "sip_tcp": a.ports.sip, "sip_tls": a.ports.tls, "https": a.ports.https,
		"provisioning": a.ports.provisioning, "tftp": a.ports.tftp, "metrics": a.ports.metrics,
	} {
		tree.set("listen."+key, at(port))
	}
	tree.set("listen.pnp", map[string]any{"group": fmt.Sprintf("224.0.1.75:%d", a.ports.sip), "interfaces": []any{"lo"}})
	// Browsers offer their network's address and not loopback: media has to listen on all.
	media := fmt.Sprintf(":%d", a.ports.media)
	tree.set("listen.media", map[string]any{"udp": media, "tcp": media})
	tree.set("listen.rtp", map[string]any{"ports": fmt.Sprintf("%d-%d", a.ports.rtpFirst, a.ports.rtpLast)})
	terminals, err := os.ReadFile(filepath.Join(repository, "configs", "terminals.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "terminals.csv"), terminals, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(tree, a)
	}
	a.writeConfig(tree)
	t.Cleanup(a.end)
	return a
}

// end stops the process that runs now. It is registered before anything that a test starts beside the appliance, also when
// the process is started again, so that telephones can still hang up.
func (a *appliance) end() {
	if a.command == nil || a.command.Process == nil {
		return
	}
	_ = a.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-a.exited:
	case <-time.After(20 * time.Second):
		_ = a.command.Process.Kill()
		a.t.Errorf("the appliance did not end within 20 s of SIGTERM")
	}
	if a.t.Failed() {
		a.t.Logf("output of the appliance:\n%s", a.output.tail(6000))
	}
}

func (a *appliance) writeConfig(tree settings) {
	a.t.Helper()
	encoded, err := yaml.Marshal(tree)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(a.config, encoded, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// start runs the binary and waits until it says that it is ready.
func (a *appliance) start() {
	a.t.Helper()
	a.output = &lockedBuffer{}
	serve := []string{filepath.Join(repository, "bin", "linehall"), "serve", "--config", a.config, "--data", a.data}
	if a.dns != "" { // in a mount namespace of its own
		serve = append([]string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, a.dns}, serve...)
	}
	a.command = commandAt(a.host, serve[0], serve[1:]...)
	a.command.Stdout, a.command.Stderr = a.output, a.output
	if err := a.command.Start(); err != nil {
		a.t.Fatalf("start the appliance (make build first): %v", err)
	}
	exited := make(chan struct{})
	a.exited = exited
	command := a.command
	go func() { _ = command.Wait(); close(exited) }()
	a.eventually(30*time.Second, "the appliance is ready", func() error {
		select {
		case <-exited:
			return permanent{fmt.Errorf("it ended: %s", a.output.tail(3000))}
		default:
		}
		return a.ready()
	})
}

func (a *appliance) ready() error {
	response, err := a.http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", a.ports.metrics))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		return fmt.Errorf("readyz: %s %s", response.Status, body)
	}
	return nil
}

// kill9 ends the process as a power cut would, and waits until it is gone.
func (a *appliance) kill9() {
	a.t.Helper()
	if err := a.command.Process.Kill(); err != nil {
		a.t.Fatalf("kill -9: %v", err)
	}
	<-a.exited
}

// run executes `linehall ARGS --config … --data …` and returns its standard output; a failure ends the test.
func (a *appliance) run(args ...string) string {
	a.t.Helper()
	out, errOut, code := a.try(args...)
	if code != 0 {
		a.t.Fatalf("linehall %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// try is run for commands that may fail.
func (a *appliance) try(args ...string) (stdout, stderr string, code int) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 60*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(repository, "bin", "linehall"), append(args, "--config", a.config, "--data", a.data)...)
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		a.t.Fatalf("linehall %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errOut.String(), command.ProcessState.ExitCode()
}

// decode runs a command with --json into out.
func (a *appliance) decode(out any, args ...string) {
	a.t.Helper()
	text := a.run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), out); err != nil {
		a.t.Fatalf("linehall %s --json: %v\n%s", strings.Join(args, " "), err, text)
	}
}

// account is what `terminal show EXT --secrets --json` says: all that an independent phone needs.
type account struct {
	Extension string `json:"extension"`
	AuthUser  string `json:"auth_user"`
	Password  string `json:"password"`
	Domain    string `json:"domain"`
	Realm     string `json:"realm"`
	Server    string `json:"server"`
	UDPPort   int    `json:"udp_port"`
	TCPPort   int    `json:"tcp_port"`
	TLSPort   int    `json:"tls_port"`
	Transport string `json:"transport"`
	CAFile    string `json:"ca_file"`
	Site      string `json:"site"`
}

func (a *appliance) account(extension string) account {
	a.t.Helper()
	var found account
	a.decode(&found, "terminal", "show", extension, "--secrets")
	return found
}

// metric sums the samples of one metric whose line contains every filter.
func (a *appliance) metric(name string, filters ...string) float64 {
	a.t.Helper()
	response, err := a.http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", a.ports.metrics))
	if err != nil {
		a.t.Fatalf("metrics: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatalf("metrics: %v", err)
	}
	sum := 0.0
sample:
	for line := range strings.Lines(string(body)) {
		rest, found := strings.CutPrefix(line, name)
		if !found || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, filter := range filters {
			if !strings.Contains(rest, filter) {
				continue sample
			}
		}
		var value float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(strings.TrimSpace(rest), ' ')+1:], &value); err == nil {
			sum += value
		}
	}
	return sum
}

// permanent marks an error that waiting cannot mend.
type permanent struct{ error }

// eventually polls check until it is nil; the bound is generous, the poll is not a measurement.
func (a *appliance) eventually(bound time.Duration, what string, check func() error) {
	a.t.Helper()
	eventually(a.t, bound, what, check)
}

func eventually(t *testing.T, bound time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(bound)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 300*time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		var final permanent
		if errors.As(err, &final) || time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", bound, what, err)
		}
		time.Sleep(pause) // between two looks; nothing is measured by it
	}
}

// lockedBuffer collects a process's output while the test reads it.
type lockedBuffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *lockedBuffer) tail(n int) string {
	text := b.String()
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}

// process is a client program that a test started.
type process struct {
	t       *testing.T
	command *exec.Cmd
	output  *lockedBuffer
	exited  chan struct{}
}

// startProcess runs a program and ends it, by its process id, with the test.
func startProcess(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	return startCommand(t, dir, exec.Command(name, args...))
}

// startCommand is startProcess for a command that was built elsewhere.
func startCommand(t *testing.T, dir string, command *exec.Cmd) *process {
	t.Helper()
	name, args := command.Path, command.Args[1:]
	p := &process{t: t, command: command, output: &lockedBuffer{}, exited: make(chan struct{})}
	p.command.Dir = dir
	p.command.Stdout, p.command.Stderr = p.output, p.output
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() { _ = p.command.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("output of %s %s:\n%s", name, strings.Join(args, " "), p.output.tail(4000))
		}
	})
	return p
}

// stop ends the process group and waits for it.
func (p *process) stop() {
	select {
	case <-p.exited:
		return
	default:
	}
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
		<-p.exited
	}
}

// wait waits for the process's own end and returns its exit code.
func (p *process) wait(bound time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(bound):
		p.t.Fatalf("%s did not end within %v:\n%s", p.command.Path, bound, p.output.tail(3000))
	}
	return p.command.ProcessState.ExitCode()
}

// hasMetric reports whether any sample of the family is exposed.
func (a *appliance) hasMetric(name string) bool {
	a.t.Helper()
	response, err := a.http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", a.ports.metrics))
	if err != nil {
		a.t.Fatalf("metrics: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatalf("metrics: %v", err)
	}
	return strings.Contains(string(body), "\n"+name+"{") || strings.Contains(string(body), "\n"+name+" ")
}
