package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"linehall/cmd/linesim/appliance"
	"linehall/cmd/linesim/desk"
	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/report"
	"linehall/cmd/linesim/tone"
	"linehall/cmd/linesim/voice"
	"linehall/cmd/linesim/yealink"
)

// brands lists what `linesim phone` can be.
func brands() []string { return append([]string{"yealink"}, desk.Brands()...) }

// unpacked is one phone out of its box.
type unpacked struct {
	brand  string
	device yealink.Device // MAC, model and the like are those of every brand
	find   finding
	once   bool
	asJSON bool
	hold   func(ctx context.Context) // stays on the network as long as this takes, then loses its power; nil: an ordinary end
	log    *slog.Logger
	out    io.Writer
}

// phoneReport is what became of it.
type phoneReport struct {
	Brand      string       `json:"brand"`
	Model      string       `json:"model"`
	MAC        string       `json:"mac"`
	Found      string       `json:"found_url"`
	Fetches    []desk.Fetch `json:"fetches"`
	NextURL    string       `json:"next_url"`
	Book       int          `json:"book"` // numbers in its phone book
	Extension  string       `json:"extension"`
	Server     string       `json:"server"`
	Transport  string       `json:"transport"`
	Registered bool         `json:"registered"`
	Seconds    float64      `json:"granted_seconds"`
	Error      string       `json:"error,omitempty"`
}

func newPhone(logger func() *slog.Logger) *cobra.Command {
	var (
		u        unpacked
		bind, ca string
	)
	cmd := &cobra.Command{
		Use:   "phone",
		Short: "Unpack one phone: it provisions itself and registers",
		Long: "Plays one phone out of its box: it finds its server (--find dhcp, pnp; --option as a DHCP server would give it),\n" +
			"asks for its files over HTTP, HTTPS or TFTP in its brand's order, reads them by the brand's grammar, registers with the account it finds, answers calls, and fetches again when told to (check-sync).",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(brands(), u.brand) {
				return usageError{fmt.Errorf("no brand %q; there are %s", u.brand, strings.Join(brands(), ", "))}
			}
			if u.device.MAC == "" {
				return usageError{errors.New("which phone? give --mac")}
			}
			if bind != "" {
				addr, err := netip.ParseAddr(bind)
				if err != nil {
					return usageError{fmt.Errorf("--bind: %w", err)}
				}
				u.device.Bind = addr
			}
			if ca != "" {
				config, err := trust(ca, false)
				if err != nil {
					return err
				}
				u.device.Roots = config.RootCAs
			}
			if err := u.find.parse(); err != nil {
				return usageError{err}
			}
			u.log, u.out = logger(), cmd.OutOrStdout()
			return u.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&u.brand, "brand", "yealink", "brand of the phone: "+strings.Join(brands(), ", "))
	f.StringVar(&u.device.MAC, "mac", "", "MAC address")
	f.StringVar(&u.device.Model, "model", "", "model (a usual one of the brand)")
	f.StringVar(&u.device.URL, "url", "http://127.0.0.1:8080/", "provisioning address that is set on the phone; used when it finds none by itself")
	u.find.flags(f)
	f.IntVar(&u.device.TFTP, "tftp-port", 0, "port of TFTP addresses without one (69)")
	f.StringVar(&bind, "bind", "", "own address (the appliance tells the site by it)")
	f.StringVar(&ca, "ca", "", "CA certificate trusted from the factory")
	f.BoolVar(&u.once, "once", false, "register once and leave")
	f.BoolVar(&u.asJSON, "json", false, "print the report as JSON")
	return cmd
}

// run provisions and registers, over and over when told to.
func (u *unpacked) run(ctx context.Context) error {
	for {
		again, err := u.life(ctx)
		if err != nil || !again {
			return err
		}
	}
}

// life is the time between two fetches of the configuration; again says that a check-sync ended it.
func (u *unpacked) life(ctx context.Context) (again bool, err error) {
	r := phoneReport{Brand: u.brand, Model: u.device.Model, MAC: u.device.MAC}
	if err := u.discover(ctx); err != nil {
		return false, u.tell(r, err)
	}
	r.Found = u.device.URL
	result, err := u.provision(ctx)
	r.Fetches, r.NextURL, r.Book = result.Fetches, result.URL, result.Book
	if err != nil {
		return false, u.tell(r, err)
	}
	// What the files set survives in the phone: it asks its own address from now on, and trusts what it was told to.
	u.device.URL, u.device.Roots = result.URL, result.Roots
	account := result.Account
	r.Extension, r.Server, r.Transport = account.User, fmt.Sprintf("%s:%d", account.Server, account.Port), account.Transport
	return u.register(ctx, r, result, account)
}

// provision does what the brand does; the result is valid as far as it got.
func (u *unpacked) provision(ctx context.Context) (desk.Result, error) {
	if u.brand != "yealink" {
		device := desk.Device{Brand: u.brand, MAC: u.device.MAC, Model: u.device.Model, URL: u.device.URL, Bind: u.device.Bind, Roots: u.device.Roots, TFTP: u.device.TFTP}
		result, err := device.Provision(ctx)
		if result == nil {
			return desk.Result{}, err
		}
		return *result, err
	}
	result, err := u.device.Provision(ctx)
	if result == nil {
		return desk.Result{}, err
	}
	common := desk.Result{Roots: result.Roots, URL: result.URL}
	if result.Book != nil {
		if common.Book, err = desk.Numbers(result.Book); err != nil {
			return common, err
		}
	}
	for _, f := range result.Fetches {
		common.Fetches = append(common.Fetches, desk.Fetch(f))
	}
	if err != nil {
		return common, err
	}
	a, err := result.Config.Account(1)
	common.Account = desk.Account{
		DisplayName: a.DisplayName, User: a.User, AuthUser: a.AuthUser, Password: a.Password, Domain: a.Domain,
		Server: a.Server, Port: a.Port, Transport: a.Transport, Expires: a.Expires,
	}
	return common, err
}

// tell prints the report; a bad one ends the command.
func (u *unpacked) tell(r phoneReport, err error) error {
	if err != nil {
		r.Error = err.Error()
	}
	if u.asJSON {
		return errors.Join(report.JSON(u.out, r), failed(err))
	}
	report.Line(u.out, "files at %s", r.Found)
	for _, f := range r.Fetches {
		report.Line(u.out, "GET %s: %d, %d bytes %s", f.URL, f.Status, f.Bytes, f.Error)
	}
	switch {
	case err != nil:
		report.Line(u.out, "%v", err)
	default:
		report.Line(u.out, "phone book: %d numbers", r.Book)
		report.Line(u.out, "%s registered at %s over %s for %.0f s", r.Extension, r.Server, r.Transport, r.Seconds)
	}
	return failed(err)
}

func failed(err error) error {
	if err != nil {
		return errFailed
	}
	return nil
}

func (u *unpacked) register(ctx context.Context, r phoneReport, result desk.Result, account desk.Account) (again bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	terminal := appliance.Terminal{Extension: account.User, Server: account.Server, UDPPort: account.Port, TCPPort: account.Port, TLSPort: account.Port}
	server, err := terminal.Resolve(ctx, account.Transport, "")
	if err != nil {
		return false, u.tell(r, err)
	}
	bind := u.device.Bind
	if !bind.IsValid() {
		if bind, err = appliance.NewBinder(nil).Next("", server.Addr()); err != nil {
			return false, u.tell(r, err)
		}
	}
	resync := make(chan struct{}, 1)
	media := voice.NewEngine(voice.DefaultTick)
	p, err := phone.New(phone.Config{
		Account: phone.Account{
			Extension: account.User, DisplayName: account.DisplayName, AuthUser: account.AuthUser, Password: account.Password, Domain: account.Domain,
		},
		Server: server, Transport: phone.Transport(account.Transport), Bind: bind, Expires: time.Duration(account.Expires) * time.Second,
		TLS:       &tls.Config{RootCAs: result.Roots, ServerName: account.Server, MinVersion: tls.VersionTLS12},
		UserAgent: u.userAgent(), Media: media, Log: u.log, PowerCut: u.hold != nil,
		Answer: func(phone.Ring) phone.Reaction {
			return phone.Reaction{RingFor: 3 * time.Second, Sound: phone.Sound{Send: tone.Frequency(0)}}
		},
		OnNotify: func(event string) {
			if strings.HasPrefix(event, "check-sync") || event == "resync" {
				select {
				case resync <- struct{}{}:
				default: // one fetch is enough
				}
			}
		},
	})
	if err != nil {
		return false, u.tell(r, err)
	}
	g, life := errgroup.WithContext(ctx)
	g.Go(func() error { return media.Run(life) })
	g.Go(func() error { return p.Run(life) })
	again, err = u.stay(ctx, p, r, resync)
	cancel()
	return again, errors.Join(err, g.Wait())
}

func (u *unpacked) userAgent() string {
	if u.brand == "yealink" {
		return u.device.UserAgent()
	}
	return desk.Device{Brand: u.brand, Model: u.device.Model}.UserAgent()
}

// stay waits for the registration and then for the end, or for a check-sync.
func (u *unpacked) stay(ctx context.Context, p *phone.Phone, r phoneReport, resync <-chan struct{}) (again bool, err error) {
	const patience = 15 * time.Second
	select {
	case <-p.Registered():
	case <-time.After(patience):
		return false, u.tell(r, fmt.Errorf("not registered within %s: %w", patience, p.Status().Err))
	case <-ctx.Done():
		return false, nil
	}
	r.Registered, r.Seconds = true, time.Until(p.Status().Until).Seconds()
	if err := u.tell(r, nil); err != nil || u.once {
		if err == nil && u.hold != nil {
			u.hold(ctx)
		}
		return false, err
	}
	select {
	case <-ctx.Done():
		return false, nil
	case <-resync:
		return true, nil
	}
}
