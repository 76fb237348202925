package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The cores of the relay benches.
const (
	serverCore    = 0
	generatorCore = 1
)

// clockTick is what /proc/PID/stat counts in: USER_HZ, 100 on every Linux architecture Go runs on.
const clockTick = 10 * time.Millisecond

var errGone = errors.New("the server's process is gone")

// process is a server under test: its own process and all descendants, for servers that fork workers.
type process struct {
	pid int

	cmd    *exec.Cmd     // nil when it was not started here
	output *tail         // of cmd
	done   chan struct{} // closed when cmd has ended
}

// usage is a reading of the resources of a process tree.
type usage struct {
	cpu    time.Duration
	rssKiB int64
}

// usage reads what a process tree has used so far; zero for no process at all (direct).
func (p *process) usage() (usage, error) {
	if p == nil || p.pid == 0 {
		return usage{}, nil
	}
	pids, err := family(p.pid)
	if err != nil {
		return usage{}, err
	}
	var sum usage
	for _, pid := range pids {
		u, err := readStat(pid)
		if err != nil {
			if pid == p.pid {
				return usage{}, fmt.Errorf("process %d: %w; it said: %s", pid, errGone, p.output)
			}
			continue // a child that has ended; its time is in the parent's children columns, which we leave out
		}
		sum.cpu += u.cpu
		sum.rssKiB += u.rssKiB
	}
	return sum, nil
}

// readStat reads utime and stime of all threads, ended ones included, and the resident size. The kernel scales their
// sum to the exact run time, so a reading is good to one tick.
func readStat(pid int) (usage, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	// The command in parentheses may hold blanks: fields count from behind it. utime is field 14 of all, rss 24.
	rest := data[bytes.LastIndexByte(data, ')')+1:]
	fields := strings.Fields(string(rest))
	if len(fields) < 22 {
		return usage{}, fmt.Errorf("process %d: short stat line", pid)
	}
	var n [3]int64
	for i, at := range []int{11, 12, 21} {
		if n[i], err = strconv.ParseInt(fields[at], 10, 64); err != nil {
			return usage{}, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	u := usage{cpu: time.Duration(n[0]+n[1]) * clockTick, rssKiB: n[2] * int64(os.Getpagesize()) / 1024}
	return u, nil
}

// family lists a process and its descendants.
func family(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	children := make(map[int][]int)
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // ended meanwhile
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// tail keeps the last bytes a process wrote, for error messages.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const keep = 8 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if len(t.data) > keep {
		t.data = t.data[len(t.data)-keep:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.data))
}

// start runs a server in the foreground as a child in a process group of its own.
func (p Peers) start(dir, input string, env []string, name string, args ...string) (*process, error) {
	if p.Pinned {
		runtime.LockOSThread() // children inherit the cores of the thread that makes them
		defer runtime.UnlockOSThread()
		back, err := stayOn(serverCore)
		if err != nil {
			return nil, err
		}
		defer back()
	}
	name, args = p.network.command(name, args...)
	return start(dir, input, env, name, args...)
}

// stayOn keeps the thread on a core until back is called.
func stayOn(core int) (back func(), err error) {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("cores: %w", err)
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, fmt.Errorf("core %d: %w", core, err)
	}
	return func() { _ = unix.SchedSetaffinity(0, &all) }, nil // as it was
}

func start(dir, input string, env []string, name string, args ...string) (*process, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed: %w", name, err)
	}
	p := &process{output: &tail{}, done: make(chan struct{})}
	p.cmd = exec.Command(path, args...) //nolint:noctx // stopped by stop, which also reaps it
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdin = strings.NewReader(input)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		_ = p.cmd.Wait() // how it ended shows in the output
		close(p.done)
	}()
	return p, nil
}

// await polls until ready says yes, the process ends, or the time is up.
func (p *process) await(ctx context.Context, patience time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		if last = ready(ctx); last == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at its start: %s", filepath.Base(p.cmd.Path), p.output)
		case <-ctx.Done():
			return fmt.Errorf("%s not ready within %s: %w; it said: %s", filepath.Base(p.cmd.Path), patience, last, p.output)
		case <-ticker.C:
		}
	}
}

// stop ends a server started here, with its whole process group.
func (p *process) stop() {
	if p == nil || p.cmd == nil {
		return
	}
	const patience = 5 * time.Second
	_ = syscall.Kill(-p.pid, syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.done:
	case <-time.After(patience):
	}
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // workers that outlived their parent
	<-p.done
}
