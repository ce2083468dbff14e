package lint

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestGoModReplacesNothing(t *testing.T) {
	for _, f := range read(t).texts {
		if path.Base(f.path) != "go.mod" {
			continue
		}
		f.lines(func(n int, line string) {
			if strings.HasPrefix(strings.TrimSpace(line), "replace") {
				t.Errorf("%s:%d: a replaced module is not the one that go install fetches", f.path, n)
			}
		})
	}
}

// machinePath finds homes and workplaces: a path that exists on one machine only. Written in halves, as above.
var machinePath = regexp.MustCompile(`(^|[^\w.])(/ho` + `me/|/ro` + `ot/|/Us` + `ers/|/wo` + `rk/|\.\./sha` + `red\b)`)

// hosts are the names with a dot that a URL in this repository may have: what is documented, loopback, and names that
// RFC 2606 reserves. Registries and mirrors of one machine belong into that machine's configuration.
var hosts = regexp.MustCompile(`^(` + strings.Join([]string{
	`127\.0\.0\.1`, `([\w-]+\.)*example(\.(com|org|net))?`, `([\w-]+\.)*(test|invalid)`,
	`([\w-]+\.)*stripe\.com`, `github\.com`, `([\w-]+\.)*go\.dev`, `([\w-]+\.)*apache\.org`,
	`json-schema\.org`, `keepachangelog\.com`, `semver\.org`, `www\.rfc-editor\.org`, `datatracker\.ietf\.org`,
	`www\.w3\.org`, `maven\.apache\.org`, `([\w-]+\.)*prometheus\.io`,
}, "|") + `)$`)

var url = regexp.MustCompile(`https?://([^\s/"'` + "`" + `<>)\\:%$?#{]+|\[::1\])`)

func TestNothingNamesTheMachineItWasWrittenOn(t *testing.T) {
	for _, f := range read(t).texts {
		if strings.Contains(f.path, "/testdata/") || path.Base(f.path) == "go.sum" {
			continue
		}
		f.lines(func(n int, line string) {
			if m := machinePath.FindString(line); m != "" && f.path != "Dockerfile" {
				t.Errorf("%s:%d: %q is a path of one machine", f.path, n, m)
			}
			for _, m := range url.FindAllStringSubmatch(line, -1) {
				host := m[1][strings.LastIndexByte(m[1], '@')+1:]
				if host = strings.TrimRight(host, ".,;"); strings.Contains(host, ".") && !hosts.MatchString(host) {
					t.Errorf("%s:%d: the host %s is not one that this repository may name", f.path, n, host)
				}
			}
		})
	}
}

// documents are the Markdown files that speak about the code.
func documents(r *repository) (docs []*text) {
	for _, f := range r.texts {
		if path.Ext(f.path) == ".md" {
			docs = append(docs, f)
		}
	}
	return docs
}

var (
	link     = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)\s]*)?\)`)
	code     = regexp.MustCompile("`([^`\n]+)`")
	filePath = regexp.MustCompile(`^(?:cmd|pkg|internal|bench|test|docs|tools)(?:/[\w.-]+)+/?$`)
	testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*\b`)
)

func TestWhatTheDocumentsNameExists(t *testing.T) {
	r := read(t)
	functions := make(map[string]bool)
	for _, s := range r.sources {
		for _, d := range s.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				functions[fn.Name.Name] = true
			}
		}
	}
	for _, doc := range documents(r) {
		planned := plannedLines(doc)
		doc.lines(func(n int, line string) {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				if !r.has(path.Join(path.Dir(doc.path), m[1])) {
					t.Errorf("%s:%d: links to %s, which does not exist", doc.path, n, m[1])
				}
			}
			for _, m := range code.FindAllStringSubmatch(line, -1) {
				if filePath.MatchString(m[1]) && !planned[n] && !r.has(strings.TrimSuffix(m[1], "/")) {
					t.Errorf("%s:%d: names %s, which does not exist (a paragraph that says \"planned\" may)", doc.path, n, m[1])
				}
			}
			for _, name := range testName.FindAllString(line, -1) {
				if !functions[name] {
					t.Errorf("%s:%d: names %s, which is not a test of ours", doc.path, n, name)
				}
			}
		})
	}
}

// plannedLines returns the lines that speak of what is planned: whole paragraphs, and single rows of tables.
func plannedLines(doc *text) map[int]bool {
	planned := make(map[int]bool)
	var paragraph []int
	speaks := false
	end := func() {
		for _, n := range paragraph {
			planned[n] = speaks
		}
		paragraph, speaks = nil, false
	}
	doc.lines(func(n int, line string) {
		if line == "" || line[0] == '|' {
			end()
		}
		paragraph = append(paragraph, n)
		speaks = speaks || strings.Contains(strings.ToLower(line), "planned")
	})
	end()
	return planned
}

func TestEveryPromiseNamesItsTests(t *testing.T) {
	guarantees := read(t).text("docs/GUARANTEES.md")
	if guarantees == nil {
		t.Fatal("docs/GUARANTEES.md does not exist")
	}
	sections := regexp.MustCompile(`(?m)^## `).Split(string(guarantees.data), -1)
	for g := 1; g <= 8; g++ {
		i := slices.IndexFunc(sections, func(s string) bool { return strings.HasPrefix(s, "G"+strconv.Itoa(g)+" ") })
		if i < 0 {
			t.Errorf("docs/GUARANTEES.md has no section on G%d", g)
		} else if !testName.MatchString(sections[i]) {
			t.Errorf("docs/GUARANTEES.md names no test of G%d", g)
		}
	}
}

func TestTheChangelogHasAPlaceForWhatComesNext(t *testing.T) {
	changelog := read(t).text("CHANGELOG.md")
	if changelog == nil || !regexp.MustCompile(`(?m)^## \[Unreleased\]$`).Match(changelog.data) {
		t.Fatal("CHANGELOG.md has no section [Unreleased]")
	}
}

var (
	metricName   = regexp.MustCompile(`^tollgate_[a-z0-9_]+$`)
	metricInText = regexp.MustCompile(`tollgate_[a-z0-9_]+`)
)

// A metric is found by its name: a string constant of the whole name, at its declaration.
func TestEveryMetricIsDocumentedAndEveryDocumentedMetricExists(t *testing.T) {
	r := read(t)
	operations := r.text("docs/OPERATIONS.md")
	if operations == nil {
		t.Fatal("docs/OPERATIONS.md does not exist")
	}
	documented := make(map[string]bool)
	operations.lines(func(_ int, line string) {
		if strings.HasPrefix(line, "| `tollgate_") {
			cell, _, _ := strings.Cut(line[2:], "|")
			for _, m := range metricInText.FindAllString(cell, -1) {
				documented[m] = true
			}
		}
	})
	declared := make(map[string]bool)
	for _, s := range r.sources {
		if s.isTest() || !(s.in("pkg") || s.in("cmd") || s.in("internal")) {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok || l.Kind != token.STRING {
				return true
			}
			name, err := strconv.Unquote(l.Value)
			if err != nil || !metricName.MatchString(name) {
				return true
			}
			declared[name] = true
			if !documented[name] {
				documented[name] = true // once is enough
				t.Errorf("%s: %s is not in the table of metrics in docs/OPERATIONS.md: what question does it answer at 3 a.m.?", r.line(l.Pos()), name)
			}
			return true
		})
	}
	for _, doc := range documents(r) {
		doc.lines(func(n int, line string) {
			for _, name := range metricInText.FindAllString(line, -1) {
				if !declared[strings.TrimSuffix(name, "_bucket")] {
					t.Errorf("%s:%d: names %s, which nothing exports", doc.path, n, name)
				}
			}
		})
	}
}

// A code that clients may match on is written in the source as it is in the document, or it is not sent.
func TestEveryErrorCodeInTheDocumentsIsSent(t *testing.T) {
	r := read(t)
	compatibility := r.text("docs/COMPATIBILITY.md")
	if compatibility == nil {
		t.Fatal("docs/COMPATIBILITY.md does not exist")
	}
	written := make(map[string]bool)
	for _, s := range r.sources {
		if s.isTest() || !s.in("pkg") {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				text, _ := strconv.Unquote(l.Value)
				written[text] = true
			}
			return true
		})
	}
	status := regexp.MustCompile(`^\| [45][0-9][0-9] \| ([^|]*)\|`)
	rows := 0
	compatibility.lines(func(n int, line string) {
		row := status.FindStringSubmatch(line)
		if row == nil {
			return
		}
		rows++
		for _, code := range code.FindAllStringSubmatch(row[1], -1) {
			if !written[code[1]] && code[1] != "Stripe-Rate-Limited-Reason" {
				t.Errorf("docs/COMPATIBILITY.md:%d: the code %s is nowhere in the source", n, code[1])
			}
		}
	})
	if rows < 10 {
		t.Errorf("docs/COMPATIBILITY.md has %d rows of error codes: is the table still found?", rows)
	}
}

// That every setting is documented is a test of cmd/gateway, which knows their full names; here it is the reverse.
func TestEveryVariableInTheDocumentsIsRead(t *testing.T) {
	r := read(t)
	tag := regexp.MustCompile(`\benv:"([^",]+)"`)
	known := make(map[string]bool)
	for _, s := range r.sources {
		if s.dir() != "cmd/gateway" || s.isTest() {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil {
				return true
			}
			for _, m := range tag.FindAllStringSubmatch(field.Tag.Value, -1) {
				known[m[1]] = true
			}
			return true
		})
	}
	variable := regexp.MustCompile(`\bGATEWAY_[A-Z_]+\b`)
	for _, doc := range documents(r) {
		doc.lines(func(n int, line string) {
			for _, name := range variable.FindAllString(line, -1) {
				if !known[name] && name != "GATEWAY_BIN" {
					t.Errorf("%s:%d: names the variable %s, which nothing reads", doc.path, n, name)
				}
			}
		})
	}
}

func TestEveryMakeTargetInTheDocumentsExists(t *testing.T) {
	r := read(t)
	makefile := r.text("Makefile")
	if makefile == nil {
		t.Fatal("Makefile does not exist")
	}
	named := regexp.MustCompile("(?m)`make ([a-z][a-z-]*)`|^make ([a-z][a-z-]*)")
	for _, doc := range documents(r) {
		for _, m := range named.FindAllStringSubmatch(string(doc.data), -1) {
			target := m[1] + m[2]
			if !regexp.MustCompile(`(?m)^` + target + `:`).Match(makefile.data) {
				t.Errorf("%s: names make %s, which is not a target", doc.path, target)
			}
		}
	}
}
