package stripe

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func formOf(t *testing.T, body string) *Form {
	t.Helper()
	f := new(Form)
	if err := ParseForm(f, []byte(body)); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTheSameParametersHaveOneCanonicalSpelling(t *testing.T) {
	canonical := func(body string) []byte { return formOf(t, body).AppendCanonical(nil) }
	for _, same := range [][2]string{
		{"a=1&b[c]=x+y", "b%5Bc%5D=x%20y&&a=1"},
		{"a[]=1&b=&a[]=2", "a[]=1&a[]=2&b"},
	} {
		if !bytes.Equal(canonical(same[0]), canonical(same[1])) {
			t.Errorf("%s and %s differ", same[0], same[1])
		}
	}
	for _, others := range [][2]string{
		{"a=1&b=2", "a=2&b=1"}, {"a=1", "a=1&b="}, {"a[]=1&a[]=2", "a[]=2&a[]=1"}, {"ab=c", "a=bc"}, {"a=1", ""}, {"a=b&c=", "a=&b=c"},
	} {
		if bytes.Equal(canonical(others[0]), canonical(others[1])) {
			t.Errorf("%s and %s are the same", others[0], others[1])
		}
	}
}

func TestEnumsAndLengthsAreRefusedByName(t *testing.T) {
	f := func(err error, code, param, saying string) {
		t.Helper()
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != 400 || e.Code != code || e.Param != param || !strings.Contains(e.Message, saying) {
			t.Errorf("%v, not %s on %s with %q", err, code, param, saying)
		}
	}
	enum := func(body string) error {
		_, err := formOf(t, body).Enum("a[b]", "x", "y", "z")
		return err
	}
	f(enum("a[b]=w"), "", "a[b]", "'w' must be x, y or z")
	f(enum("a[b]="), "parameter_invalid_empty", "a[b]", "")
	f(enum("a[b][c]=x"), "", "a[b]", "single value")
	text := func(body string) error {
		_, err := formOf(t, body).Text("n", 3)
		return err
	}
	f(text("n=abcd"), "", "n", "at most 3 characters")
	f(text("n="), "parameter_invalid_empty", "n", "")
	if got, err := formOf(t, "n=%C3%BC%C3%BC%C3%BC").Text("n", 3); err != nil || got != "üüü" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := formOf(t, "a[b]=y").Enum("a[b]", "x", "y"); err != nil || got != "y" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := formOf(t, "").Enum("a[b]", "x"); err != nil || got != "" {
		t.Errorf("%q %v", got, err)
	}
	if form := formOf(t, "a[b]=1&c=2"); !form.Has("a") || !form.Has("a[b]") || !form.Has("c") || form.Has("b") {
		t.Error("Has does not know what is there")
	}
}

func TestAPartOfAPathIsUnescapedOrRefused(t *testing.T) {
	f := func(part, want string, ok bool) {
		t.Helper()
		got, gotOK := AppendUnescaped([]byte("x"), []byte(part))
		if gotOK != ok || ok && string(got) != "x"+want {
			t.Errorf("%q: %q %v", part, got, gotOK)
		}
	}
	f("mtr_1", "mtr_1", true)
	f("a+b%20c%2Fd%25", "a+b c/d%", true)
	f("%C3%BC", "ü", true)
	f("%FF", "", false)
	f("%00", "", false)
	f("%", "", false)
	f("%4", "", false)
	f("%4g", "", false)
}
