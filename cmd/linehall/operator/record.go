package operator

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// errBroken makes `audit verify` end with 1 after it has said where.
var errBroken = errors.New("the audit log was altered")

func (o *operator) audit() *cobra.Command {
	type verification struct {
		OK       bool   `json:"ok"`
		Count    int    `json:"count"`
		BrokenAt *int64 `json:"broken_at"`
		Message  string `json:"message"`
	}
	verify := &cobra.Command{
		Use: "verify", Short: "prove that no record of what was done was altered", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			whole := true
			err := show(o, cmd, "/api/v1/audit/verify", func(out io.Writer, v verification) {
				whole = v.OK
				if v.OK {
					fmt.Fprintf(out, "%d records, none altered\n", v.Count)
					return
				}
				fmt.Fprintln(out, v.Message)
			})
			if err == nil && *o.settings.JSON {
				c, clientErr := o.client()
				if clientErr != nil {
					return clientErr
				}
				var v verification
				if err := c.get(cmd.Context(), "/api/v1/audit/verify", &v); err != nil {
					return err
				}
				whole = v.OK
			}
			if err == nil && !whole {
				return errBroken
			}
			return err
		},
	}
	return group("audit", "what was done", verify, o.auditList())
}

func (o *operator) auditList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "the last records", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, fmt.Sprintf("/api/v1/audit?limit=%d", limit), func(out io.Writer, body struct {
				Events []struct {
					Seq    int64             `json:"seq"`
					At     time.Time         `json:"at"`
					Actor  string            `json:"actor"`
					Source string            `json:"source"`
					Action string            `json:"action"`
					Object string            `json:"object"`
					Detail map[string]string `json:"detail"`
				} `json:"events"`
			},
			) {
				t := newTable(out, "number", "at", "who", "from", "did", "to", "detail")
				for _, e := range body.Events {
					detail := make([]string, 0, len(e.Detail))
					for k, v := range e.Detail {
						detail = append(detail, k+"="+v)
					}
					t.AppendRow([]any{e.Seq, clock(&e.At), e.Actor, e.Source, e.Action, e.Object, strings.Join(detail, " ")})
				}
				t.Render()
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "how many")
	return cmd
}

type certificates struct {
	Certificates []struct {
		Use         string    `json:"use"`
		Own         bool      `json:"own"`
		Subject     string    `json:"subject"`
		Names       []string  `json:"names"`
		NotAfter    time.Time `json:"not_after"`
		Fingerprint string    `json:"fingerprint"`
	} `json:"certificates"`
}

func (o *operator) cert() *cobra.Command {
	list := &cobra.Command{
		Use: "show", Short: "the certificates in use and their fingerprints", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "/api/v1/certificates", renderCertificates)
		},
	}
	renew := &cobra.Command{
		Use: "renew", Short: "make new server certificates now; the roots stay, calls go on", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return send(o, cmd, "POST", "/api/v1/certificates/renew", nil, renderCertificates)
		},
	}
	return group("cert", "certificates", list, renew)
}

func renderCertificates(out io.Writer, body certificates) {
	for _, c := range body.Certificates {
		whose := "ours"
		if c.Own {
			whose = "the organisation's"
		}
		fmt.Fprintf(out, "%s (%s)\n  subject %s\n  names   %s\n  until   %s\n  SHA-256 %s\n", c.Use, whose, c.Subject, strings.Join(c.Names, " "), clock(&c.NotAfter), c.Fingerprint)
	}
}
