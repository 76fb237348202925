// Command build bundles the pages in web/src into web/dist with esbuild's Go API.
//
// The bundle is committed, so that building the appliance needs no Node. The same input gives the same bytes: names carry the
// content's hash and nothing depends on the time or the folder. With -check nothing is written, and the exit code is 1 if
// web/dist is not what the sources give. It needs web/node_modules (npm ci --ignore-scripts).
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	check := flag.Bool("check", false, "compare web/dist with the sources, write nothing")
	root := flag.String("web", "web", "folder that holds src, dist and node_modules")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "web/build:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return fmt.Errorf("folder of the pages: %w", err)
	}
	files, err := bundle(root)
	if err != nil {
		return err
	}
	dist := filepath.Join(root, "dist")
	if check {
		return compare(dist, files)
	}
	return write(dist, files)
}
