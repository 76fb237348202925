package operator

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

type account struct {
	Name              string    `json:"name"`
	Role              string    `json:"role"`
	Site              string    `json:"site"`
	InitialPassword   bool      `json:"initial_password"`
	PasswordChangedAt time.Time `json:"password_changed_at"`
}

func (o *operator) user() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "console users", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "/api/v1/users", func(out io.Writer, body struct {
				Users []account `json:"users"`
			},
			) {
				t := newTable(out, "name", "role", "site", "password since", "initial password")
				for _, u := range body.Users {
					t.AppendRow([]any{u.Name, u.Role, u.Site, clock(&u.PasswordChangedAt), yesNo(u.InitialPassword)})
				}
				t.Render()
			})
		},
	}
	return group("user", "people who log in to the console", list, o.userAdd(), o.userPassword(), o.userRemove())
}

func (o *operator) userAdd() *cobra.Command {
	var role, site string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "add a user; the password is asked for, or read from standard input", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := askPassword(cmd)
			if err != nil {
				return err
			}
			body := map[string]string{"name": args[0], "password": password, "role": role}
			if site != "" {
				body["site"] = site
			}
			return send(o, cmd, "POST", "/api/v1/users", body, said[map[string]any]("user "+args[0]+" added"))
		},
	}
	cmd.Flags().StringVar(&role, "role", "operator", "admin, operator, chair, room, auditor or user")
	cmd.Flags().StringVar(&site, "site", "", "the only site that the user may see")
	return cmd
}

func (o *operator) userPassword() *cobra.Command {
	return &cobra.Command{
		Use: "passwd NAME", Short: "set a user's password; its sessions end", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := askPassword(cmd)
			if err != nil {
				return err
			}
			return send(o, cmd, "PUT", "/api/v1/users/"+segment(args[0])+"/password", map[string]string{"password": password},
				said[map[string]any]("password of "+args[0]+" changed"))
		},
	}
}

func (o *operator) userRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "remove a user; its sessions end", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(o, cmd, "DELETE", "/api/v1/users/"+segment(args[0]), nil, said[map[string]any]("user "+args[0]+" removed"))
		},
	}
}

// said renders an operation without an answer of its own.
func said[T any](text string) func(io.Writer, T) {
	return func(out io.Writer, _ T) { fmt.Fprintln(out, text) }
}

// askPassword reads a password twice from the terminal without showing it, or one line from a pipe.
func askPassword(cmd *cobra.Command) (string, error) {
	input, isFile := cmd.InOrStdin().(*os.File)
	if !isFile || !term.IsTerminal(int(input.Fd())) {
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var entered [2]string
	for i, prompt := range []string{"password: ", "again: "} {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		line, err := term.ReadPassword(int(input.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		entered[i] = string(line)
	}
	if entered[0] != entered[1] {
		return "", errors.New("the two passwords differ")
	}
	return entered[0], nil
}

type token struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       string     `json:"role"`
	Site       string     `json:"site"`
	Room       string     `json:"room"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

func (o *operator) token() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "bearer tokens of machines", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "/api/v1/tokens", func(out io.Writer, body struct {
				Tokens []token `json:"tokens"`
			},
			) {
				t := newTable(out, "id", "name", "role", "site", "room", "created", "expires", "last used")
				for _, k := range body.Tokens {
					t.AppendRow([]any{k.ID, k.Name, k.Role, k.Site, k.Room, clock(&k.CreatedAt), clock(k.ExpiresAt), clock(k.LastUsedAt)})
				}
				t.Render()
			})
		},
	}
	revoke := &cobra.Command{
		Use: "revoke ID", Short: "make a token worthless", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(o, cmd, "DELETE", "/api/v1/tokens/"+segment(args[0]), nil, said[map[string]any]("token "+args[0]+" revoked"))
		},
	}
	return group("token", "bearer tokens for machines", list, o.tokenAdd(), revoke)
}

func (o *operator) tokenAdd() *cobra.Command {
	var name, role, room, site string
	cmd := &cobra.Command{
		Use: "add", Short: "make a bearer token; it is shown this once", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body := map[string]string{"role": role}
			for key, value := range map[string]string{"name": name, "room": room, "site": site} {
				if value != "" {
					body[key] = value
				}
			}
			return send(o, cmd, "POST", "/api/v1/tokens", body, func(out io.Writer, made struct {
				Token string `json:"token"`
			},
			) {
				fmt.Fprintln(out, made.Token)
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "for the list")
	cmd.Flags().StringVar(&role, "role", "", "admin, operator, chair, room, auditor or user")
	cmd.Flags().StringVar(&room, "room", "", "the only room that it may enter")
	cmd.Flags().StringVar(&site, "site", "", "the only site that it may see")
	_ = cmd.MarkFlagRequired("role") // fails only for a flag that does not exist
	return cmd
}
