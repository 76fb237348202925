// Package xmlfile writes and reads the small XML files of desk phones: UTF-8,
// elements with attributes, and text only in elements without children.
//
// Encode is deterministic. Decode is as strict as the strictest phone: one
// root, no text between elements, no comments, no document type (and so no
// entities of its own), no name space, bounded in size and depth.
//
//	root := xmlfile.New("settings")
//	root.Add("language").Text = "English"
//	content := root.Encode()
//
// Nodes are plain values of whoever builds them; the functions are pure.
package xmlfile

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Attr is an attribute.
type Attr struct{ Name, Value string }

// Node is an element.
type Node struct {
	Name     string
	Attrs    []Attr
	Text     string // only without children
	Children []*Node
}

// New is an element with attributes given as name, value, name, value.
func New(name string, attrs ...string) *Node {
	n := &Node{Name: name}
	for i := 0; i+1 < len(attrs); i += 2 {
		n.Attrs = append(n.Attrs, Attr{attrs[i], attrs[i+1]})
	}
	return n
}

// Add appends a child.
func (n *Node) Add(name string, attrs ...string) *Node {
	child := New(name, attrs...)
	n.Children = append(n.Children, child)
	return child
}

// Child returns the child with this name and index attribute ("" = without
// one), and makes it when there is none.
func (n *Node) Child(name, index string) *Node {
	for _, c := range n.Children {
		if at, _ := c.Attr("index"); c.Name == name && at == index {
			return c
		}
	}
	if index == "" {
		return n.Add(name)
	}
	return n.Add(name, "index", index)
}

// Attr returns an attribute.
func (n *Node) Attr(name string) (string, bool) {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

// Encode writes the element as a whole file.
func (n *Node) Encode() []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	n.encode(&b, "")
	return b.Bytes()
}

// wide is how many attributes an element has on one line.
const wide = 6

func (n *Node) encode(b *bytes.Buffer, indent string) {
	b.WriteString(indent + "<" + n.Name)
	for _, a := range n.Attrs {
		if len(n.Attrs) > wide {
			b.WriteString("\n" + indent + " ")
		}
		b.WriteString(" " + a.Name + `="`)
		escape(b, a.Value)
		b.WriteString(`"`)
	}
	switch {
	case len(n.Children) > 0:
		b.WriteString(">\n")
		for _, c := range n.Children {
			c.encode(b, indent+"  ")
		}
		b.WriteString(indent + "</" + n.Name + ">\n")
	case n.Text == "":
		b.WriteString("/>\n")
	default:
		b.WriteString(">")
		escape(b, n.Text)
		b.WriteString("</" + n.Name + ">\n")
	}
}

func escape(b *bytes.Buffer, text string) {
	_ = xml.EscapeText(b, []byte(text)) // a bytes.Buffer takes everything
}

const (
	maxSize  = 1 << 20
	maxDepth = 16
)

// ErrForm means that a phone could not read the file.
var ErrForm = errors.New("not a phone's XML file")

// Decode reads a whole file.
func Decode(content []byte) (*Node, error) {
	if len(content) > maxSize || !utf8.Valid(content) {
		return nil, fmt.Errorf("%w: larger than 1 MiB, or not UTF-8", ErrForm)
	}
	d := &decoder{xml: xml.NewDecoder(bytes.NewReader(content))}
	for {
		token, err := d.xml.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = d.take(token)
		}
		if err != nil {
			line, column := d.xml.InputPos()
			return nil, fmt.Errorf("%w: line %d column %d: %w", ErrForm, line, column, err)
		}
	}
	if d.root == nil {
		return nil, fmt.Errorf("%w: empty", ErrForm)
	}
	return d.root, nil
}

type decoder struct {
	xml  *xml.Decoder
	root *Node
	open []*Node
	text strings.Builder
}

func (d *decoder) take(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return d.start(t)
	case xml.EndElement:
		return d.end()
	case xml.CharData:
		d.text.Write(t)
		if len(d.open) == 0 && strings.TrimSpace(d.text.String()) != "" {
			return errors.New("text outside the root element")
		}
	case xml.ProcInst:
		if t.Target != "xml" || d.root != nil {
			return errors.New("a processing instruction")
		}
	default:
		return fmt.Errorf("%T is not for phones", token)
	}
	return nil
}

func (d *decoder) start(t xml.StartElement) error {
	node := &Node{Name: t.Name.Local}
	if t.Name.Space != "" || len(d.open) >= maxDepth || d.root != nil && len(d.open) == 0 {
		return fmt.Errorf("element %s: a name space, too deep, or a second root", t.Name.Local)
	}
	for _, a := range t.Attr {
		if _, twice := node.Attr(a.Name.Local); twice || a.Name.Space != "" {
			return fmt.Errorf("attribute %s: twice, or with a name space", a.Name.Local)
		}
		node.Attrs = append(node.Attrs, Attr{a.Name.Local, a.Value})
	}
	if strings.TrimSpace(d.text.String()) != "" {
		return errors.New("text between elements")
	}
	d.text.Reset()
	if len(d.open) == 0 {
		d.root = node
	} else {
		parent := d.open[len(d.open)-1]
		parent.Children = append(parent.Children, node)
	}
	d.open = append(d.open, node)
	return nil
}

func (d *decoder) end() error {
	node := d.open[len(d.open)-1]
	d.open = d.open[:len(d.open)-1]
	text := d.text.String()
	d.text.Reset()
	if len(node.Children) == 0 {
		node.Text = text
	} else if strings.TrimSpace(text) != "" {
		return errors.New("text between elements")
	}
	return nil
}

// Path splits line[1] into its name and index.
func Path(step string) (name, index string) {
	name, index, indexed := strings.Cut(step, "[")
	if !indexed {
		return step, ""
	}
	return name, strings.TrimSuffix(index, "]")
}
