// Package operator holds the commands that talk to a running appliance: clients of the same API as the console, over the
// unix socket DATA/linehall.sock, which only the service's own user (and root) may open. It prints tables for people and,
// with --json, the API's own bodies. It keeps no state and starts no goroutine.
//
//	root.AddCommand(operator.Commands(settings)...)
package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"syscall"
	"time"
)

// SocketName is the unix socket's name inside the data directory.
const SocketName = "linehall.sock"

// requestTimeout bounds one command's request; the slowest is the audit chain's verification.
const requestTimeout = 60 * time.Second

// ErrNotRunning means that nobody listens on the socket.
var ErrNotRunning = errors.New("the appliance is not running here")

// problem is an RFC 9457 problem document.
type problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Status int    `json:"status"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

// Error says what was refused and, field by field, why.
func (p *problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = http.StatusText(p.Status)
	}
	for _, e := range p.Errors {
		text += fmt.Sprintf("\n  %s: %s", e.Location, e.Message)
	}
	return text
}

// client sends requests to the appliance whose data directory it was given.
type client struct {
	socket string
	http   *http.Client
}

func newClient(dataDir string) *client {
	socket := filepath.Join(dataDir, SocketName)
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &client{socket: socket, http: &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}},
	}}
}

// do sends body (nil for none) and returns the response's body; a problem document becomes an error.
func (c *client) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		reader = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://linehall"+path, reader)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.explainDial(err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end below; closing it can lose nothing
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		refused := &problem{Status: response.StatusCode}
		if json.Unmarshal(answer, refused) != nil {
			refused.Detail = string(bytes.TrimSpace(answer))
		}
		refused.Status = response.StatusCode
		return nil, refused
	}
	return answer, nil
}

// get decodes the answer into out.
func (c *client) get(ctx context.Context, path string, out any) error {
	answer, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("decode answer of %s: %w", path, err)
	}
	return nil
}

func (c *client) explainDial(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens on %s (start it with `linehall serve`, or name its data directory with --data)", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to open %s: run the command as the service's user or as root", c.socket)
	}
	return err
}

// segment escapes one path segment.
func segment(s string) string { return url.PathEscape(s) }
