package lint

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A text is one file that the repository keeps.
type text struct {
	path string // from the repository's root, with slashes
	data []byte
}

// A source is one Go file, parsed with its comments.
type source struct {
	path string
	ast  *ast.File
}

func (s *source) dir() string  { return path.Dir(s.path) }
func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) in(dir string) bool {
	return strings.HasPrefix(s.path, dir+"/")
}

// isHelper: code that only tests import, under test/ and bench/ or a conformance suite.
func (s *source) isHelper() bool {
	return s.in("test") || s.in("bench") || s.dir() == "pkg/commitlog/logtest"
}

type repository struct {
	texts   []*text
	sources []*source
	fset    *token.FileSet
}

func (r *repository) line(pos token.Pos) string {
	p := r.fset.Position(pos)
	return p.Filename + ":" + strconv.Itoa(p.Line)
}

func (r *repository) text(path string) *text {
	for _, t := range r.texts {
		if t.path == path {
			return t
		}
	}
	return nil
}

// has says whether the repository keeps a file or a directory of this path.
func (r *repository) has(path string) bool {
	for _, t := range r.texts {
		if t.path == path || strings.HasPrefix(t.path, path+"/") {
			return true
		}
	}
	return false
}

const root = "../.."

// read returns the repository, read once for all rules.
func read(t *testing.T) *repository {
	t.Helper()
	r, err := readOnce()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var readOnce = sync.OnceValues(func() (*repository, error) {
	ignored, err := readIgnored()
	if err != nil {
		return nil, err
	}
	r := &repository{fset: token.NewFileSet()}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(name, root), string(filepath.Separator)))
		switch {
		case d.IsDir() && (name == ".git" || ignored(name+"/")):
			return filepath.SkipDir
		case name == ".git": // a working tree beside another says here where that is
			return nil
		case d.IsDir() || !d.Type().IsRegular() || ignored(name):
			return nil
		}
		return r.add(name)
	})
	return r, err
})

func (r *repository) add(name string) error {
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return err
	}
	r.texts = append(r.texts, &text{path: name, data: data})
	if path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
		return nil
	}
	parsed, err := parser.ParseFile(r.fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	r.sources = append(r.sources, &source{path: name, ast: parsed})
	return nil
}

// readIgnored understands as much of .gitignore as ours uses: "/path/" and "*.ext".
func readIgnored() (func(name string) bool, error) {
	data, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		return nil, err
	}
	patterns := strings.Fields(string(data))
	return func(name string) bool {
		for _, p := range patterns {
			if strings.HasPrefix(p, "/") && strings.HasPrefix(name, p[1:]) {
				return true
			}
			if strings.HasPrefix(p, "*") && strings.HasSuffix(name, p[1:]) {
				return true
			}
		}
		return false
	}, nil
}

// lines calls f with every line of a text and its number.
func (t *text) lines(f func(number int, line string)) {
	n := 0
	for line := range bytes.Lines(t.data) {
		n++
		f(n, string(bytes.TrimRight(line, "\n")))
	}
}

// calls walks the calls of a file by the function that they are written in; outside of one, f gets nil.
func (s *source) calls(f func(in *ast.FuncDecl, call *ast.CallExpr)) {
	for _, d := range s.ast.Decls {
		fn, _ := d.(*ast.FuncDecl)
		ast.Inspect(d, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				f(fn, c)
			}
			return true
		})
	}
}

// imported returns the import path that a selector's package name stands for in this file, by the last element of
// the path when it is not renamed.
func (s *source) imported(name string) string {
	for _, i := range s.ast.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue
		}
		local := path.Base(p)
		if local == "v2" {
			local = path.Base(path.Dir(p))
		}
		if i.Name != nil {
			local = i.Name.Name
		}
		if local == name {
			return p
		}
	}
	return ""
}

// qualified returns "path.Name" when an expression is a name of an imported package, else "".
func (s *source) qualified(e ast.Expr) string {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	p := s.imported(id.Name)
	if p == "" {
		return ""
	}
	return p + "." + sel.Sel.Name
}
