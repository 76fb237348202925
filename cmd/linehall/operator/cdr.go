package operator

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/xuri/excelize/v2"
)

type cdr struct {
	ID              string     `json:"id"`
	CallID          string     `json:"call_id"`
	StartedAt       time.Time  `json:"started_at"`
	AnsweredAt      *time.Time `json:"answered_at"`
	EndedAt         time.Time  `json:"ended_at"`
	DurationSeconds float64    `json:"duration_seconds"`
	From            string     `json:"from"`
	FromSite        string     `json:"from_site"`
	To              string     `json:"to"`
	ToSite          string     `json:"to_site"`
	Dialled         string     `json:"dialled"`
	Result          string     `json:"result"`
	Code            int        `json:"code"`
	EndedBy         string     `json:"ended_by"`
	Reason          string     `json:"reason"`
	Path            string     `json:"path"`
	Codec           string     `json:"codec"`
	MOSCaller       *float64   `json:"mos_caller"`
	MOSCallee       *float64   `json:"mos_callee"`
	Media           string     `json:"media"`
	SRTP            bool       `json:"srtp"`
	SRTPCaller      bool       `json:"srtp_caller"`
	SRTPCallee      bool       `json:"srtp_callee"`
	SRTPHere        bool       `json:"srtp_here"`
	Trunk           string     `json:"trunk"`
	Overflow        string     `json:"overflow"`
	TransferredBy   string     `json:"transferred_by"`
	PickedUpBy      string     `json:"picked_up_by"`
	PreemptedBy     string     `json:"preempted_by"`
	LinkedTo        []string   `json:"linked_to"`
	Guests          []guest    `json:"guests"`
	JoinedTo        string     `json:"joined_to"`
	JoinedAs        string     `json:"joined_as"`
	Recording       *struct {
		Mode   string `json:"mode"`
		By     string `json:"by"`
		Parts  int    `json:"parts"`
		Reason string `json:"reason"`
	} `json:"recording"`
	Forwards []struct {
		From   string `json:"from"`
		To     string `json:"to"`
		Reason string `json:"reason"`
	} `json:"forwards"`
}

var cdrHeader = []string{
	"id", "call_id", "started_at", "answered_at", "ended_at", "duration_seconds", "from", "from_site", "to", "to_site", "dialled",
	"result", "code", "ended_by", "reason", "path", "codec", "mos_caller", "mos_callee",
	"media", "srtp", "trunk", "overflow", "forwards", "transferred_by", "picked_up_by", "preempted_by", "linked_to",
	"srtp_caller", "srtp_callee", "srtp_here", "recording", "guests", "joined_to", "joined_as",
}

func (c cdr) row() []string {
	answered := ""
	if c.AnsweredAt != nil {
		answered = c.AnsweredAt.Format(time.RFC3339)
	}
	return []string{
		c.ID, c.CallID, c.StartedAt.Format(time.RFC3339), answered, c.EndedAt.Format(time.RFC3339), strconv.FormatFloat(c.DurationSeconds, 'f', -1, 64),
		c.From, c.FromSite, c.To, c.ToSite, c.Dialled, c.Result, strconv.Itoa(c.Code), c.EndedBy, c.Reason, c.Path, c.Codec,
		score(c.MOSCaller, ""), score(c.MOSCallee, ""),
		c.Media, strconv.FormatBool(c.SRTP), c.Trunk, c.Overflow, c.forwards(), c.TransferredBy, c.PickedUpBy, c.PreemptedBy, strings.Join(c.LinkedTo, " "),
		strconv.FormatBool(c.SRTPCaller), strconv.FormatBool(c.SRTPCallee), strconv.FormatBool(c.SRTPHere), c.recorded(), guestList(c.Guests), c.JoinedTo, c.JoinedAs,
	}
}

// encrypted says which legs were, and whether SRTP went from phone to phone.
func (c cdr) encrypted() string {
	switch {
	case c.SRTP && c.SRTPHere:
		return "on both legs, ends here"
	case c.SRTP:
		return "from phone to phone"
	case c.SRTPCaller:
		return "on the caller's leg only"
	case c.SRTPCallee:
		return "on the callee's leg only"
	default:
		return "no"
	}
}

// score prints a mean opinion score, or nothing for what was not measured: a direct call's media does not pass the appliance.
func score(mos *float64, nothing string) string {
	if mos == nil {
		return nothing
	}
	return strconv.FormatFloat(*mos, 'f', 2, 64)
}

// recorded says what became of recording the call, in one cell.
func (c cdr) recorded() string {
	switch r := c.Recording; {
	case r == nil:
		return ""
	case r.Reason != "" && r.Parts == 0:
		return "not recorded: " + r.Reason
	case r.Reason != "":
		return "recorded in part: " + r.Reason
	default:
		return "recorded by " + r.By
	}
}

// forwards is the way that the call took, in one cell.
func (c cdr) forwards() string {
	steps := make([]string, 0, len(c.Forwards))
	for _, f := range c.Forwards {
		steps = append(steps, f.From+" -> "+f.To+" ("+f.Reason+")")
	}
	return strings.Join(steps, "; ")
}

func (o *operator) cdr() *cobra.Command {
	var from, to, format, output string
	var limit int
	export := &cobra.Command{
		Use: "export", Short: "call records as csv, json or xlsx", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			for key, value := range map[string]string{"from": from, "to": to} {
				if value == "" {
					continue
				}
				at, err := parseTime(value)
				if err != nil {
					return fmt.Errorf("--%s: %w", key, err)
				}
				query.Set(key, at.Format(time.RFC3339))
			}
			if *o.settings.JSON {
				format = "json"
			}
			return o.exportCDRs(cmd, "/api/v1/cdrs?"+query.Encode(), format, output)
		},
	}
	export.Flags().StringVar(&from, "from", "", "started at or after: 2026-11-23 or 2026-11-23T08:00:00+08:00")
	export.Flags().StringVar(&to, "to", "", "started before")
	export.Flags().StringVar(&format, "format", "csv", "csv, json or xlsx")
	export.Flags().StringVarP(&output, "output", "o", "", "file to write (xlsx needs one); standard output otherwise")
	export.Flags().IntVar(&limit, "limit", 10000, "at most so many, newest first")
	return group("cdr", "call records", export, o.cdrShow())
}

// parseTime takes a date (midnight, local time) or an RFC 3339 time.
func parseTime(value string) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, value, time.Local); err == nil {
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a date like 2026-11-23 nor a time like 2026-11-23T08:00:00+08:00", value)
	}
	return at, nil
}

func (o *operator) exportCDRs(cmd *cobra.Command, path, format, output string) error {
	write, known := map[string]func(io.Writer, []byte) error{"csv": writeCSV, "json": writeJSON, "xlsx": writeXLSX}[format]
	if !known {
		return fmt.Errorf("--format %q: want csv, json or xlsx", format)
	}
	if format == "xlsx" && output == "" {
		return fmt.Errorf("--format xlsx writes a binary file: name it with --output")
	}
	c, err := o.client()
	if err != nil {
		return err
	}
	body, err := c.do(cmd.Context(), "GET", path, nil)
	if err != nil {
		return err
	}
	if output == "" {
		return write(cmd.OutOrStdout(), body)
	}
	file, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create export: %w", err)
	}
	if err := write(file, body); err != nil {
		_ = file.Close() // the write error is the one to report
		return fmt.Errorf("write %s: %w", output, err)
	}
	return file.Close()
}

func decodeCDRs(body []byte) ([]cdr, error) {
	var decoded struct {
		CDRs []cdr `json:"cdrs"`
	}
	if err := json.Unmarshal(body, &decoded); err != nil {
		return nil, fmt.Errorf("decode call records: %w", err)
	}
	return decoded.CDRs, nil
}

func writeJSON(out io.Writer, body []byte) error {
	_, err := fmt.Fprintf(out, "%s\n", body)
	return err
}

func writeCSV(out io.Writer, body []byte) error {
	records, err := decodeCDRs(body)
	if err != nil {
		return err
	}
	w := csv.NewWriter(out)
	if err := w.Write(cdrHeader); err != nil {
		return err
	}
	for _, record := range records {
		if err := w.Write(neutral(record.row())); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// neutral keeps a spreadsheet from taking a caller's text for a formula.
func neutral(row []string) []string {
	for i, cell := range row {
		if cell != "" && (cell[0] == '=' || cell[0] == '@' || cell[0] == '\t' || (cell[0] == '+' || cell[0] == '-') && !isNumber(cell)) {
			row[i] = "'" + cell
		}
	}
	return row
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func writeXLSX(out io.Writer, body []byte) error {
	records, err := decodeCDRs(body)
	if err != nil {
		return err
	}
	book := excelize.NewFile()
	defer func() { _ = book.Close() }() // in memory: closing only removes temporary files
	const sheet = "Sheet1"
	header := make([]any, len(cdrHeader))
	for i, name := range cdrHeader {
		header[i] = name
	}
	if err := book.SetSheetRow(sheet, "A1", &header); err != nil {
		return err
	}
	for i, record := range records {
		cells := make([]any, 0, len(cdrHeader))
		for _, cell := range record.row() {
			cells = append(cells, cell)
		}
		at, err := excelize.CoordinatesToCellName(1, i+2)
		if err != nil {
			return err
		}
		if err := book.SetSheetRow(sheet, at, &cells); err != nil {
			return err
		}
	}
	return book.Write(out)
}
