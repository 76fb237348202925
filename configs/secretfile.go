package configs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"linehall/internal/setting"
)

// maxSecret bounds a secret's file.
const maxSecret = 4096

// secretFile reads the secret named by a "_file" key.
func (d *document) secretFile(node ast.Node, target reflect.Value, path string, beside place) {
	text, isString, ok := scalarText(node)
	if !ok || !isString {
		d.add(position(node), path, "%s wants the name of a file, not %s", name(path), describe(node))
		return
	}
	if text == "" {
		return
	}
	if beside.line > 0 {
		d.add(position(node), path, "the secret is written at line %d already; use one of the two", beside.line)
		return
	}
	secret, message := readSecret(d.file, text)
	if message != "" {
		d.add(position(node), path, "%s", message)
		return
	}
	target.Set(reflect.ValueOf(setting.Secret(secret)))
}

// readSecret returns the content without the line end, or what is wrong.
func readSecret(config, file string) (secret, problem string) {
	file = resolve(config, file)
	content, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "file " + file + " does not exist"
	case err != nil:
		return "", "file " + file + " cannot be read: " + reason(err)
	case len(content) > maxSecret:
		return "", "file " + file + " is too long for a secret"
	case bytes.IndexByte(content, 0) >= 0:
		return "", "file " + file + " is no text"
	}
	if secret = strings.TrimRight(string(content), "\r\n"); secret == "" {
		return "", "file " + file + " is empty"
	}
	return secret, ""
}

// reason is the innermost cause, without the file name that the message has.
func reason(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}
