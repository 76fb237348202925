// Package setting holds the vocabulary of the configuration: value types that
// are written as text (rates, shares, port ranges, listen addresses, secrets),
// the complaint about one key, and the search for the nearest valid name.
//
// Every domain's Config is built from these types and reports what is wrong
// with Complaints; the configs package turns the path of a complaint into
// file, line and column. The package knows neither YAML nor any domain.
// Everything here is a value or a pure function and safe for concurrent use.
//
//	func (c Config) Validate() error {
//		var found setting.Complaints
//		if c.Voices < 1 {
//			found.Add("voices", "at least one voice must be forwarded")
//		}
//		return found.Err()
//	}
package setting
