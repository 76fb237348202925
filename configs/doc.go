// Package configs composes the configuration of every domain into one value:
// linehall.yaml, terminals.csv, and the files that hold secrets.
//
// Load starts from Default, reads the file strictly (an unknown key, a wrong
// type or a key that is there twice is an error), lays LINEHALL_ environment
// variables and flags over it, asks every domain to Validate, and compares
// what no domain can see alone: the number plan, addresses, sites, terminals.
// It never stops at the first problem: the error is an *Error that lists all
// of them with file, line and column and the nearest valid name.
//
//	config, err := configs.Load(configs.Options{Path: "configs/linehall.yaml"})
//	var failed *configs.Error
//	if errors.As(err, &failed) {
//		for _, p := range failed.Problems {
//			fmt.Println(p)
//		}
//	}
//
// A Config is immutable and may be read concurrently. Only cmd imports this
// package. The JSON schema beside the file is generated from the Go types by
// "go generate ./configs" and tested for freshness.
package configs

//go:generate go test -run ^TestSchemaIsFresh$ . -update
