// Package inventory knows the terminals that the organisation owns: it reads
// terminals.csv, and keeps the list of phones that asked for a configuration
// and are in no row of it.
//
// Parse takes the file as spreadsheets write it: UTF-8 with or without a byte
// order mark, or GB18030; LF or CRLF; commas or semicolons; MAC addresses in
// any notation. It reports every problem with line and column and never
// touches a secret: passwords are made and kept by internal/directory.
// Comparing rows with sites and the number plan is the configs package's.
//
//	rows, problems := inventory.Parse(content)
//	for _, row := range rows {
//		fmt.Println(row.Extension, row.MAC, row.At(inventory.ColumnMAC))
//	}
//
// Parse is a pure function; Unknown may be used concurrently.
package inventory
