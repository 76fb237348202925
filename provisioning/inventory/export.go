package inventory

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
)

// Export writes rows as terminals.csv in its plainest form: the standard
// header, optional columns only where a row uses them, MAC addresses as
// 00:15:65:ab:cd:ef, UTF-8, commas. Comments and empty lines are not rows and
// are left out. Reading it back gives the same rows, and exporting those the
// same bytes.
func Export(rows []Row) ([]byte, error) {
	header := Header()
	for _, name := range []string{ColumnDigest, ColumnClass, ColumnLamps} {
		if slices.ContainsFunc(rows, func(r Row) bool { return r.cell(name) != "" }) {
			header = append(header, name)
		}
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	records := [][]string{header}
	for _, row := range rows {
		record := make([]string, 0, len(header))
		for _, name := range header {
			record = append(record, row.cell(name))
		}
		records = append(records, record)
	}
	if err := w.WriteAll(records); err != nil {
		return nil, fmt.Errorf("terminals as CSV: %w", err)
	}
	return b.Bytes(), nil
}

// cell is what a column of the row holds; a default is written as nothing in
// optional columns.
func (r Row) cell(column string) string {
	switch column {
	case ColumnMAC:
		return r.MAC
	case ColumnModel:
		return r.Model
	case ColumnSite:
		return string(r.Site)
	case ColumnExtension:
		return r.Extension
	case ColumnDisplayName:
		return r.DisplayName
	case ColumnTemplate:
		return r.Template
	case ColumnState:
		return r.State
	case ColumnNotes:
		return r.Notes
	case ColumnDigest:
		if r.Digest != Digests()[0] {
			return r.Digest
		}
	case ColumnClass:
		return r.Class
	case ColumnLamps:
		return strings.Join(r.Lamps, " ")
	}
	return ""
}
