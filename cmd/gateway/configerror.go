package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// ConfigError is one setting that can not be used. A person reads it at three in the morning: it says where the value
// stands, what it is (never a secret), why it is refused and what to write instead.
type ConfigError struct {
	Where  string // "gateway.yaml:7", "--listen", "GATEWAY_LISTEN"
	Key    string // "kafka.partitions"
	Value  string // empty when it is secret or absent
	Reason string
	Remedy string
}

func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(e.Where)
	if e.Key != "" && e.Key != e.Where {
		b.WriteString(": " + e.Key)
	}
	if e.Value != "" {
		fmt.Fprintf(&b, " = %q", e.Value)
	}
	b.WriteString(": " + e.Reason)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// origins knows where each key was set: by a flag, by the environment, in the file, or nowhere.
type origins struct {
	set  map[string]string // YAML key → "--listen" or "GATEWAY_LISTEN"
	path string            // of the file; empty when there is none
	ast  *ast.File
}

// where names the place of a key such as "$.businesses[0].keys[1].key": the flag, the variable, the line of the file
// (of its nearest parent when the key itself is absent), or the default.
func (o origins) where(key string) string {
	top := strings.TrimPrefix(key, "$.")
	if src, ok := o.set[top]; ok {
		return src
	}
	if i := strings.IndexAny(top, "["); i > 0 {
		if src, ok := o.set[top[:i]]; ok {
			return src
		}
	}
	if o.ast == nil {
		return "default"
	}
	if line := o.line(key); line > 0 {
		return fmt.Sprintf("%s:%d", o.path, line)
	}
	return o.path
}

func (o origins) line(key string) int {
	for key != "$" && key != "" {
		if p, err := yaml.PathString(key); err == nil {
			if n, err := p.FilterFile(o.ast); err == nil && n != nil && n.GetToken() != nil {
				return n.GetToken().Position.Line
			}
		}
		cut := strings.LastIndexAny(key, ".[")
		if cut < 0 {
			break
		}
		key = key[:cut]
	}
	return 0
}

// yamlError turns the parser's error into ours: line and reason, without the excerpt of the file that the parser would
// add, which may show a key.
func yamlError(path string, err error) error {
	e := &ConfigError{Where: path, Reason: err.Error(), Remedy: "see docs/CONFIG.md for every key and its form"}
	var ye yaml.Error
	if errors.As(err, &ye) {
		e.Reason = ye.GetMessage()
		if t := ye.GetToken(); t != nil && t.Position != nil {
			e.Where = fmt.Sprintf("%s:%d", path, t.Position.Line)
		}
	}
	var te *yaml.TypeError
	var ne *yaml.UnexpectedNodeTypeError
	var oe *yaml.OverflowError
	switch {
	case errors.As(err, &ne):
		e.Reason = fmt.Sprintf("%s is expected here, not %s", plainType(ne.Expected.YAMLName()), plainType(ne.Actual.YAMLName()))
	case errors.As(err, &te):
		e.Reason = fmt.Sprintf("%s is expected here, not %s", plainType(te.DstType.String()), plainType(te.SrcType.String()))
	case errors.As(err, &oe):
		e.Reason = "the number is too large"
	}
	return e
}

// plainType says the name of a Go or YAML type in the words of the file's author.
func plainType(t string) string {
	switch {
	case strings.HasPrefix(t, "int"), strings.HasPrefix(t, "uint"):
		return "a whole number"
	case strings.HasPrefix(t, "float"):
		return "a fraction"
	case t == "bool", t == "boolean":
		return "true or false"
	case t == "string":
		return "a text"
	case t == "null":
		return "nothing"
	case t == "sequence", strings.HasPrefix(t, "[]"):
		return "a list"
	default:
		return "a block of keys"
	}
}
