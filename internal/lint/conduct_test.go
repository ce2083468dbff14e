package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unfinished are the words that promise work instead of doing it. They are spelled in halves so as not to be found
// here.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

func TestNothingIsLeftForLater(t *testing.T) {
	for _, f := range read(t).texts {
		if strings.Contains(f.path, "/testdata/") {
			continue
		}
		f.lines(func(n int, line string) {
			if w := unfinished.FindString(line); w != "" {
				t.Errorf("%s:%d: %s: do it, or write an issue", f.path, n, w)
			}
		})
	}
}

func TestASkippedTestSaysSoLoudly(t *testing.T) {
	r := read(t)
	for _, s := range r.sources {
		s.calls(func(_ *ast.FuncDecl, c *ast.CallExpr) {
			sel, ok := c.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				return
			}
			if id, ok := sel.X.(*ast.Ident); !ok || !slices.Contains([]string{"t", "b", "f", "tb"}, id.Name) {
				return
			}
			said := false
			for _, a := range c.Args {
				ast.Inspect(a, func(n ast.Node) bool {
					l, ok := n.(*ast.BasicLit)
					said = said || ok && l.Kind == token.STRING && regexp.MustCompile(`SKIPPED\S* \S+`).MatchString(l.Value)
					return true
				})
			}
			if !said {
				t.Errorf("%s: a skipped test looks like a passed one: say \"SKIPPED: \" and why", r.line(c.Pos()))
			}
		})
	}
}

// ambient are the calls that take the clock, the dice, or the machine from the process instead of from Config. Where
// they are the default of a Config field, they stand in a function named withDefaults.
var ambient = map[string]*regexp.Regexp{
	"time":         regexp.MustCompile(`^(Now|Since|Until)$`),
	"math/rand":    regexp.MustCompile(`.`),
	"math/rand/v2": regexp.MustCompile(`^[A-Z]`),
	"crypto/rand":  regexp.MustCompile(`.`),
	"os":           regexp.MustCompile(`.`),
	"net":          regexp.MustCompile(`^(Dial\w*|Listen|Listen(TCP|UDP|Unix|Packet)|Lookup\w*)$`),
}

// harmless names of these packages are types, constants and constructors that take their source from the caller.
var harmless = regexp.MustCompile(`^(os\.(Err\w+|O_\w+|File(Mode|Info)|Mode\w+|PathError|IsNotExist|IsExist)|math/rand/v2\.(New|NewPCG|NewChaCha8|Rand|Source|PCG|ChaCha8))$`)

// An exception lets a place take something from the process.
type exception struct {
	where string // a room, or a file and a function
	what  *regexp.Regexp
	why   string
}

// ambientAllowed lists the rooms and functions that may do so nevertheless, with the reason. Rooms that wait for a
// network measure and wait by the runtime's clock, and their tests give them another by testing/synctest or by short
// timeouts; what is written into a record or judged by a rule has its time from Config even there.
var ambientAllowed = []exception{
	{"pkg/auth/keys.go NewKeys", regexp.MustCompile(`^crypto/rand\.`), "a salt that nobody sees and that ends with the process: no test could want another"},
	{"pkg/commitlog/kafkalog", regexp.MustCompile(`^(time|math/rand/v2)\.`), "deadlines of requests, ages of answers, and pauses with jitter"},
	{"pkg/httpd", regexp.MustCompile(`^time\.`), "deadlines of sockets, slow clients, and how long an answer took"},
	{"pkg/commitlog/journal/partition.go sync", regexp.MustCompile(`^time\.`), "how long an fsync took"},
}

func TestRoomsTakeClockDiceAndMachineFromTheirConfig(t *testing.T) {
	r := read(t)
	used := make([]bool, len(ambientAllowed))
	for _, s := range r.sources {
		if !s.in("pkg") || s.isTest() || s.isHelper() {
			continue
		}
		for _, d := range s.ast.Decls {
			fn, _ := d.(*ast.FuncDecl)
			if fn != nil && fn.Name.Name == "withDefaults" {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || !isAmbient(s.qualified(sel)) {
					return true
				}
				if i := ambientException(s, fn, s.qualified(sel)); i >= 0 {
					used[i] = true
					return true
				}
				t.Errorf("%s: %s comes from the process: take it from Config, with its default in withDefaults, so that a test can give another", r.line(sel.Pos()), s.qualified(sel))
				return true
			})
		}
	}
	for i, a := range ambientAllowed {
		if !used[i] {
			t.Errorf("%s is allowed to take %v from the process, and does not", a.where, a.what)
		}
	}
}

func ambientException(s *source, fn *ast.FuncDecl, name string) int {
	return slices.IndexFunc(ambientAllowed, func(a exception) bool {
		here := a.where == s.dir() || fn != nil && a.where == s.path+" "+fn.Name.Name
		return here && a.what.MatchString(name)
	})
}

func isAmbient(name string) bool {
	i := strings.LastIndexByte(name, '.')
	if i < 0 || harmless.MatchString(name) {
		return false
	}
	re := ambient[name[:i]]
	return re != nil && re.MatchString(name[i+1:])
}

func TestRoomsDoNotPrintOrLog(t *testing.T) {
	r := read(t)
	for _, s := range r.sources {
		if !s.in("pkg") || s.isTest() || s.isHelper() {
			continue
		}
		for _, p := range []string{"log", "slog"} {
			if got := s.imported(p); got == "log" || got == "log/slog" {
				t.Errorf("%s imports %s: return an error, count, or call back; the command logs", s.path, got)
			}
		}
		s.calls(func(_ *ast.FuncDecl, c *ast.CallExpr) {
			name := s.qualified(c.Fun)
			if id, ok := c.Fun.(*ast.Ident); ok && (id.Name == "print" || id.Name == "println") {
				name = id.Name
			}
			if strings.HasPrefix(name, "fmt.Print") || name == "print" || name == "println" {
				t.Errorf("%s: %s: return an error, count, or call back; the command prints", r.line(c.Pos()), name)
			}
		})
	}
}
