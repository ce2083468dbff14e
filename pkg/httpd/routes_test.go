package httpd

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"tollgate/pkg/stripe"
)

func TestAPathLeadsToItsRouteAndNoOther(t *testing.T) {
	f := func(method, target, name, parameter string) {
		t.Helper()
		got, gotParameter := "other", ""
		p, raw := placeOf([]byte(target))
		if p != nil {
			got, gotParameter = p.route([]byte(method)).name, string(raw)
		}
		if got != name || gotParameter != parameter {
			t.Errorf("%s %s is %s with %q, not %s with %q", method, target, got, gotParameter, name, parameter)
		}
	}
	for i := range routes {
		r := &routes[i]
		path, parameter := r.path, ""
		if before, rest, found := strings.Cut(path, ":"); found {
			_, behind, more := strings.Cut(rest, "/")
			if path, parameter = before+"x%2Fy", "x%2Fy"; more {
				path += "/" + behind
			}
		}
		f(r.method, path, r.name, parameter)
		f(r.method, path+"?a=b/c", r.name, parameter)
		f(r.method, path+"/", "other", "")
		f(r.method, "/"+path, "other", "")
		f(r.method, strings.ToUpper(path), "other", "")
	}
	f("GET", "/v1/billing/meters/", "other", "")
	f("GET", "/v1/billing/meters/a/b", "other", "")
	f("GET", "/v1/billing/meters//deactivate", "other", "")
	f("GET", "/v1/billing/meters/deactivate", "v1_meter_retrieve", "deactivate")
	f("POST", "/v1/billing/meters/a/deactivate/b", "other", "")
	f("GET", "/v1/billing/meters/a/deactivate", "v1_meter_deactivate", "a")
	f("GET", "/v1/billing/meters/..", "v1_meter_retrieve", "..")
	f("GET", "", "other", "")
	f("GET", "?", "other", "")
}

func TestTheStreamIsTheFirstPlace(t *testing.T) {
	if places[0].before != streamPath || places[0].parameter {
		t.Errorf("the first place is %s: every other one is compared with before the stream is found", places[0].before)
	}
	if n := testing.AllocsPerRun(100, func() { placeOf([]byte(streamPath)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzTarget: a target leads to a place exactly when another reading of the table says so, and then its parameter and its
// query are read, or refused, as net/url does it.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		streamPath, "/v1/billing/meters?limit=3&status=active&a%5Bb%5D=c&a[]=1&a[0]=2", "/v1/billing/meters/mtr_1", "/v1/billing/meters/%2F%C3%BC+/deactivate?x",
		"/v1/billing/meters/a%zz", "/v1/billing/meters/%00", "/v1/billing/meters/?=", "/v1//billing/meters",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		p, raw := placeOf([]byte(target))
		path, query, _ := strings.Cut(target, "?")
		if want := oracleOf(path); (p == nil) != (want == "") || p != nil && p.routes[0].path != want {
			t.Fatalf("%q leads to %v, not to %q", target, p, want)
		}
		if p == nil {
			return
		}
		if p.parameter != (raw != nil) || bytes.ContainsAny(raw, "/?") {
			t.Fatalf("parameter %q", raw)
		}
		text, ok := stripe.AppendUnescaped(nil, raw)
		want, err := url.PathUnescape(string(raw))
		if ok && (err != nil || want != string(text)) {
			t.Fatalf("%q is %q, not %q %v", raw, text, want, err)
		}
		if got := queryOf([]byte(target)); string(got) != query {
			t.Fatalf("query %q, not %q", got, query)
		}
		var form stripe.Form
		if stripe.ParseForm(&form, queryOf([]byte(target))) == nil {
			if _, err := url.ParseQuery(query); err != nil && !strings.Contains(query, ";") {
				t.Fatalf("%q was read, and net/url says %v", query, err)
			}
		}
	})
}

// oracleOf matches a path part by part.
func oracleOf(path string) string {
	parts := strings.Split(path, "/")
	for i := range routes {
		want := strings.Split(routes[i].path, "/")
		if len(want) != len(parts) {
			continue
		}
		match := true
		for j := range want {
			match = match && (want[j] == parts[j] || strings.HasPrefix(want[j], ":") && parts[j] != "")
		}
		if match {
			return routes[i].path
		}
	}
	return ""
}
