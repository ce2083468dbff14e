package lint

import (
	"go/ast"
	"path"
	"strings"
	"testing"
)

// Bounds on what has to be read in one sitting. Chosen a third above what the longest files and functions of code
// that reads well have; tests are tables and may be longer.
const (
	fileLinesMax     = 500
	functionLinesMax = 80
)

// long lists what may exceed the bounds, with the reason.
var long = map[string]string{}

func TestFilesAndFunctionsCanBeReadInOneSitting(t *testing.T) {
	r := read(t)
	used := make(map[string]bool)
	for _, s := range r.sources {
		if s.isTest() {
			continue
		}
		f := r.fset.File(s.ast.Pos())
		if n := f.LineCount(); n > fileLinesMax && long[s.path] == "" {
			t.Errorf("%s has %d lines, more than %d: it is two files", s.path, n, fileLinesMax)
		} else if n > fileLinesMax {
			used[s.path] = true
		}
		for _, d := range s.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := f.Line(fn.End()) - f.Line(fn.Pos()) + 1
			key := s.path + " " + fn.Name.Name
			if n > functionLinesMax && long[key] == "" {
				t.Errorf("%s: %s has %d lines, more than %d: it does two things", r.line(fn.Pos()), fn.Name.Name, n, functionLinesMax)
			} else if n > functionLinesMax {
				used[key] = true
			}
		}
	}
	for key := range long {
		if !used[key] {
			t.Errorf("%q is listed as longer than the bounds and is not", key)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	r := read(t)
	comments := make(map[string][]string) // by directory
	for _, s := range r.sources {
		if strings.HasSuffix(s.ast.Name.Name, "_test") {
			continue
		}
		if _, ok := comments[s.dir()]; !ok {
			comments[s.dir()] = nil
		}
		if s.ast.Doc == nil {
			continue
		}
		comments[s.dir()] = append(comments[s.dir()], s.path)
		want := "Package " + s.ast.Name.Name + " "
		if s.ast.Name.Name == "main" {
			want = "Command " + path.Base(s.dir()) + " "
		}
		if doc := s.ast.Doc.Text(); !strings.HasPrefix(doc, want) {
			t.Errorf("%s: the package comment starts %q, and go doc wants %q", s.path, firstLine(doc), want)
		}
	}
	for dir, files := range comments {
		switch len(files) {
		case 1:
		case 0:
			t.Errorf("%s has no package comment: what it is, who may call what at once, what it will not do", dir)
		default:
			t.Errorf("%s has package comments in %s: go doc glues them together", dir, strings.Join(files, " and "))
		}
	}
}

// wellKnown methods mean what the standard library says they mean.
var wellKnown = map[string]bool{"Error": true, "Unwrap": true, "Is": true, "String": true}

func TestExportedNamesAreExplained(t *testing.T) {
	r := read(t)
	for _, s := range r.sources {
		if s.isTest() || s.ast.Name.Name == "main" {
			continue
		}
		var above *ast.CommentGroup // over the function before, which may explain a pair
		for _, d := range s.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				paired := d.Doc == nil && above != nil && strings.Contains(above.Text(), d.Name.Name)
				if d.Name.IsExported() && exportedReceiver(d) && !paired && !(d.Recv != nil && wellKnown[d.Name.Name]) {
					explained(t, r, d.Name, d.Doc)
				}
				above = d.Doc
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						if spec.Name.IsExported() {
							explained(t, r, spec.Name, either(spec.Doc, d.Doc))
						}
					case *ast.ValueSpec:
						for _, n := range spec.Names {
							if n.IsExported() && !valueExplained(s.ast, d, spec, n) {
								t.Errorf("%s: %s has no comment", r.line(n.Pos()), n.Name)
							}
						}
					}
				}
			}
		}
	}
}

// valueExplained: a constant or variable has a comment of its own, or one over its group, or a sibling's comment names
// it, or it is one of the values of a type, which is explained there.
func valueExplained(f *ast.File, group *ast.GenDecl, spec *ast.ValueSpec, name *ast.Ident) bool {
	if group.Doc != nil || spec.Doc != nil || spec.Comment != nil {
		return true
	}
	for _, sibling := range group.Specs {
		if id, ok := sibling.(*ast.ValueSpec).Type.(*ast.Ident); ok && id.IsExported() {
			return true
		}
	}
	for _, c := range f.Comments {
		if c.Pos() > group.Pos() && c.End() < group.End() && strings.Contains(c.Text(), name.Name) {
			return true
		}
	}
	return false
}

func explained(t *testing.T, r *repository, name *ast.Ident, doc *ast.CommentGroup) {
	t.Helper()
	if doc == nil {
		t.Errorf("%s: %s has no comment", r.line(name.Pos()), name.Name)
		return
	}
	words := strings.Fields(doc.Text())
	if len(words) > 0 && (words[0] == "A" || words[0] == "An" || words[0] == "The") {
		words = words[1:]
	}
	if len(words) == 0 || strings.Trim(words[0], ",:.") != name.Name {
		t.Errorf("%s: the comment of %s does not start with its name", r.line(name.Pos()), name.Name)
	}
}

// exportedReceiver: a function, or a method that go doc shows.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	e := f.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

func either(a, b *ast.CommentGroup) *ast.CommentGroup {
	if a != nil {
		return a
	}
	return b
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
