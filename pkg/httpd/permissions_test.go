package httpd

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tollgate/pkg/auth"
	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
	"tollgate/pkg/usage"
)

// restricted is the restricted key of the demo business that has the permissions of a list, which addKeys makes.
func restricted(permissions string) string {
	return "rk_test_with_" + strings.ReplaceAll(permissions, ",", "-and-")
}

// demoKeys are the keys of newFixture's demo business that addKeys keeps.
var demoKeys = []auth.KeySpec{
	{Business: "acct_demo", Secret: testKey},
	{Business: "acct_demo", Secret: liveKey},
	{Business: "acct_other", Secret: otherKey},
	{Business: "acct_demo", Secret: idleKey},
}

// addKeys configures restricted keys, one for each list of permissions.
func (f *fixture) addKeys(lists ...string) {
	f.t.Helper()
	specs := slices.Clone(demoKeys)
	for _, list := range lists {
		specs = append(specs, auth.KeySpec{Business: "acct_demo", Secret: restricted(list), Permissions: strings.Split(list, ",")})
	}
	keys, err := auth.NewKeys(specs)
	if err == nil {
		err = f.sessions.Update(keys, nil)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// needed is what each route asks of a key, written down here a second time: the table of routes must say the same.
var needed = map[string]string{
	"meter_event_stream":            "billing_meter_event_write",
	"meter_event_session":           "billing_meter_event_write",
	"meter_events":                  "billing_meter_event_write",
	"meter_event_adjustments":       "billing_meter_event_adjustment_write",
	"v1_meter_events":               "billing_meter_event_write",
	"v1_meter_event_adjustments":    "billing_meter_event_adjustment_write",
	"v1_meters_list":                "billing_meter_read",
	"v1_meters_create":              "billing_meter_write",
	"v1_meter_retrieve":             "billing_meter_read",
	"v1_meter_update":               "billing_meter_write",
	"v1_meter_deactivate":           "billing_meter_write",
	"v1_meter_reactivate":           "billing_meter_write",
	"v1_event_summaries":            "billing_meter_event_read",
	"v1_usage_event":                "billing_meter_event_read",
	"core_events_list":              "event_read",
	"core_event_retrieve":           "event_read,billing_meter_read",
	"core_event_resend":             "event_read,billing_meter_read,webhook_write",
	"event_destinations_list":       "webhook_read",
	"event_destinations_create":     "webhook_write",
	"event_destination_retrieve":    "webhook_read",
	"event_destination_update":      "webhook_write",
	"event_destination_delete":      "webhook_write",
	"event_destination_enable":      "webhook_write",
	"event_destination_disable":     "webhook_write",
	"event_destination_ping":        "webhook_write",
	"event_destination_roll_secret": "webhook_write",
}

// singlePermissions are all that there are.
var singlePermissions = []string{
	"billing_meter_read", "billing_meter_write", "billing_meter_event_read", "billing_meter_event_write",
	"billing_meter_event_adjustment_read", "billing_meter_event_adjustment_write", "event_read", "webhook_read", "webhook_write",
}

// granted says whether a key with some permissions has another: a write permission holds its read permission.
func granted(has []string, wanted string) bool {
	return slices.Contains(has, wanted) || slices.Contains(has, strings.TrimSuffix(wanted, "_read")+"_write") && strings.HasSuffix(wanted, "_read")
}

// stock is what the matrix's requests are about, in the demo business and in test mode.
type stock struct {
	*fixture
	meter string
	event *thinevent.Event
	made  int
}

func newStock(t *testing.T) *stock {
	s := &stock{fixture: newFixture(t, func(c *Config) { c.Policy = &Policy{Default: Limits{SyncEvents: 100_000}} })}
	s.meter = s.control.Snapshot().Named("acct_demo", false, "api_requests").ID
	s.event = report("acct_demo", s.meter, 1, someMs)
	s.shelve(s.event)
	s.usage.set(func(o *oracle) { o.totals, o.fate = hours(0, 1), goldenFate })
	return s
}

// call is a request to a route that nothing is wrong with but perhaps its key. What it is about is there, and is made anew
// where the request uses it up.
func (s *stock) call(r *route, key string) call {
	s.t.Helper()
	s.made++
	c := call{method: r.method, path: r.path, key: key}
	id := s.meter
	switch {
	case strings.HasPrefix(r.path, coreEventsPath):
		id = s.event.ID
	case strings.HasPrefix(r.path, destinationsPath+"/"):
		id = s.freshDestination()
	}
	c.path = strings.NewReplacer(":id", id, ":identifier", "id_1").Replace(c.path)
	switch r.name {
	case "meter_event_stream":
		c.body = oneEvent
	case "meter_events":
		c.body = oneMeterEvent
	case "meter_event_adjustments":
		c.body = oneAdjustment
	case "v1_meter_events":
		c.body = formEvent
	case "v1_meter_event_adjustments":
		c.body = formAdjust
	case "v1_meters_create":
		c.body = strings.Replace(meterForm, "api_calls", fmt.Sprintf("meter_%d", s.made), 1)
	case "v1_event_summaries":
		c.path += "?customer=a&start_time=0&end_time=86400&value_grouping_window=hour"
	case "v1_usage_event":
		c.path += "?event_name=a"
	case "event_destinations_create":
		c.body = aDestination + `,"name":"a"}`
	case "core_event_resend":
		c.path += "?destination=" + s.freshDestination()
	}
	return c
}

// freshDestination is one of the demo business, which makes room for it.
func (s *stock) freshDestination() string {
	s.t.Helper()
	for _, d := range s.control.Snapshot().Destinations("acct_demo", false) {
		_, err := s.control.Propose(s.t.Context(), control.Change{Business: "acct_demo", RemoveDestination: &control.DestinationRemoval{ID: d.ID}})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	v, err := s.control.Propose(s.t.Context(), control.Change{Business: "acct_demo", CreateDestination: &control.NewDestination{
		Type: control.WebhookEndpoint, Secret: "whsec_a",
		Settings: control.Settings{Name: "a", EnabledEvents: []string{thinevent.TypePing}, URL: "https://example.com"},
	}})
	if err != nil || v.Destination == nil {
		s.t.Fatalf("%+v %v", v, err)
	}
	return v.Destination.ID
}

// TestEachKeyMayDoWhatItsPermissionsSay sends each route a request with each kind of key.
func TestEachKeyMayDoWhatItsPermissionsSay(t *testing.T) {
	f := newStock(t)
	lists := slices.Clone(singlePermissions)
	for _, list := range needed {
		if !slices.Contains(lists, list) {
			lists = append(lists, list)
		}
	}
	f.addKeys(lists...)
	for i := range routes {
		r := &routes[i]
		wanted, ok := needed[r.name]
		if !ok {
			t.Errorf("what %s needs is not written down", r.name)
			continue
		}
		permissions := strings.Split(wanted, ",")
		stream := r.limit == limitSession
		credential := func(key string) string {
			if stream {
				return f.token(key)
			}
			return key
		}
		answers := func(who, key string, status int) *answer {
			t.Helper()
			a := f.do(f.call(r, key))
			if a.status != status {
				t.Errorf("%s with %s: %d %s, not %d", r.name, who, a.status, a.body, status)
			}
			return a
		}
		answers("a secret key", credential(testKey), http.StatusOK)
		answers("a restricted key that may do nothing", credential(idleKey), http.StatusForbidden)
		for _, list := range lists {
			has := strings.Split(list, ",")
			var missing []string
			for _, p := range permissions {
				if !granted(has, p) {
					missing = append(missing, p)
				}
			}
			if len(missing) == 0 {
				answers(list, credential(restricted(list)), http.StatusOK)
				continue
			}
			message := answers(list, credential(restricted(list)), http.StatusForbidden).failure(t).Message
			named := regexp.MustCompile(`'([a-z_,]+)'`).FindStringSubmatch(message)
			if named == nil || slices.ContainsFunc(strings.Split(named[1], ","), func(p string) bool { return !slices.Contains(missing, p) }) {
				t.Errorf("%s with %s names in %q what is not missing: %v", r.name, list, message, missing)
			}
		}
		wrongKind := testKey
		if !stream {
			wrongKind = f.token(testKey)
		}
		answers("a credential of the other kind", wrongKind, http.StatusUnauthorized)
		answers("no credential", "", http.StatusUnauthorized)
		answers("an unknown key", "sk_test_unknown", http.StatusUnauthorized)
		for who, key := range map[string]string{"another business's key": otherKey, "a key of live mode": liveKey} {
			f.seesNothing(r, who, credential(key))
		}
	}
	if len(needed) != len(routes) {
		t.Errorf("%d routes are written down, and there are %d", len(needed), len(routes))
	}
}

// seesNothing sends a route a request of somebody who has nothing of the demo business's test mode: it must be as if that
// were not there.
func (s *stock) seesNothing(r *route, who, key string) {
	s.t.Helper()
	c := s.call(r, key)
	destinations, meter := s.control.Snapshot().Destinations("acct_demo", false), s.control.Snapshot().Meter("acct_demo", false, s.meter)
	a := s.do(c)
	switch {
	case r.name == "v1_usage_event": // the fake of usage knows everybody's events; whose are asked for is tested elsewhere
	case strings.Contains(r.path, ":"):
		if a.status != http.StatusNotFound {
			s.t.Errorf("%s with %s: %d %s", r.name, who, a.status, a.body)
		}
	case strings.Contains(a.body, s.meter) || strings.Contains(a.body, s.event.ID) || len(destinations) > 0 && strings.Contains(a.body, destinations[0].ID):
		s.t.Errorf("%s with %s: %s", r.name, who, a.body)
	}
	after := s.control.Snapshot()
	if !slices.Equal(after.Destinations("acct_demo", false), destinations) || after.Meter("acct_demo", false, s.meter) != meter {
		s.t.Errorf("%s with %s changed something", r.name, who)
	}
}

// TestTheDocumentHasEveryRouteWithItsPermission reads the table of endpoints in the documents.
func TestTheDocumentHasEveryRouteWithItsPermission(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "COMPATIBILITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n## Endpoints\n")
	if !found {
		t.Fatal("there is no section of endpoints")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	row := regexp.MustCompile("(?m)^\\| (GET|POST|DELETE) `([^`]+)` \\|.*\\| ([^|]+) \\|$")
	name := regexp.MustCompile("`([a-z_]+)`")
	documented := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		var names []string
		for _, n := range name.FindAllStringSubmatch(m[3], -1) {
			names = append(names, n[1])
		}
		slices.Sort(names)
		documented[m[1]+" "+m[2]] = strings.Join(names, ",")
	}
	for i := range routes {
		r := &routes[i]
		names := strings.Split(r.permission.String(), ",")
		slices.Sort(names)
		at := r.method + " " + r.path
		if got, ok := documented[at]; !ok || got != strings.Join(names, ",") {
			t.Errorf("%s needs %v; the document says %q (%v)", at, names, got, ok)
		}
		delete(documented, at)
	}
	for at := range documented {
		t.Errorf("the document has %s, which is no route", at)
	}
	_, section, _ := strings.Cut(string(text), "\n## Permissions\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, p := range singlePermissions {
		if !strings.Contains(section, "`"+p+"`") {
			t.Errorf("the section of permissions says nothing of %s", p)
		}
	}
	for eventType, p := range typePermissions {
		if !regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(eventType) + "` \\| `" + p.String() + "` \\|").MatchString(section) {
			t.Errorf("the section of permissions does not say that %s needs %s", eventType, p)
		}
	}
}

// TestAnEndpointActsForTheAccountThatIsNamed sends each route a request of a platform's key.
func TestAnEndpointActsForTheAccountThatIsNamed(t *testing.T) {
	f := newStock(t)
	keys, err := auth.NewKeys(append(slices.Clone(demoKeys), auth.KeySpec{Business: "acct_platform", Secret: platformKey, Accounts: []string{"acct_demo", "acct_third"}}))
	if err == nil {
		err = f.sessions.Update(keys, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	platform, err := f.sessions.Keys().Authenticate([]byte("Bearer " + platformKey))
	if err != nil {
		t.Fatal(err)
	}
	token := func(account string) string {
		_, token, err := f.sessions.Mint(platform, account)
		if err != nil {
			t.Fatal(err)
		}
		return string(token)
	}
	var asked []string
	f.usage.set(func(o *oracle) {
		o.totals = func(q usage.Query) (usage.Totals, error) { asked = append(asked, q.Business); return hours(0, 1)(q) }
		o.fate = func(q usage.FateQuery) (usage.Fate, error) { asked = append(asked, q.Business); return goldenFate(q) }
	})
	for i := range routes {
		r := &routes[i]
		key, own := platformKey, platformKey
		if r.limit == limitSession {
			key, own = token("acct_demo"), token("acct_platform")
		}
		send := func(key string, headers ...string) *answer {
			t.Helper()
			c := f.call(r, key)
			c.header = map[string]string{}
			for i := 0; i < len(headers); i += 2 {
				c.header[headers[i]] = headers[i+1]
			}
			return f.do(c)
		}
		for _, headers := range [][]string{
			{"Stripe-Account", "acct_demo"},
			{"Stripe-Context", "acct_demo"},
			{"Stripe-Context", "acct_platform/acct_demo"},
			{"Stripe-Account", "acct_demo", "Stripe-Context", "acct_platform/acct_demo"},
		} {
			f.records()
			if a := send(key, headers...); a.status != 200 {
				t.Errorf("%s with %v: %d %s", r.name, headers, a.status, a.body)
			}
			for _, record := range f.records() {
				if !strings.HasPrefix(string(record.Key), "acct_demo/testmode/") {
					t.Errorf("%s with %v: usage of %s", r.name, headers, record.Key)
				}
			}
		}
		for _, row := range []struct {
			status  int
			headers []string
		}{
			{403, []string{"Stripe-Account", "acct_other"}},
			{403, []string{"Stripe-Context", "acct_platform/acct_other"}},
			{403, []string{"Stripe-Context", "acct_other/acct_demo"}},
			{403, []string{"Stripe-Context", "acct_platform/acct_third/acct_demo"}},
			{403, []string{"Stripe-Context", "acct_demo/"}},
			{403, []string{"Stripe-Context", "/acct_demo"}},
			{400, []string{"Stripe-Account", "acct_demo", "Stripe-Context", "acct_third"}},
			{400, []string{"Stripe-Account", "acct_platform", "Stripe-Context", "acct_platform/acct_demo"}},
		} {
			if a := send(key, row.headers...); a.status != row.status {
				t.Errorf("%s with %v: %d %s", r.name, row.headers, a.status, a.body)
			}
		}
		if r.limit == limitSession { // a session is of one account, whatever its key may
			for _, account := range []string{"acct_third", "acct_platform"} {
				if a := send(key, "Stripe-Account", account); a.status != 403 {
					t.Errorf("%s for %s: %d %s", r.name, account, a.status, a.body)
				}
			}
		}
		f.seesNothing(r, "the platform's own key", own)
	}
	if len(asked) == 0 || slices.ContainsFunc(asked, func(b string) bool { return b != "acct_demo" && b != "acct_platform" }) {
		t.Errorf("usage was asked about for %v", asked)
	}
	if a := f.do(call{path: eventsPath, key: testKey, body: oneMeterEvent, header: map[string]string{"Stripe-Account": "acct_platform"}}); a.status != 403 {
		t.Errorf("an account for its platform: %d %s", a.status, a.body)
	}
}

// TestASessionOfAnAccountEndsWithTheRightToActForIt: the token names the account, and the key is looked at each time.
func TestASessionOfAnAccountEndsWithTheRightToActForIt(t *testing.T) {
	f := newFixture(t, nil)
	a := f.do(call{path: sessionPath, key: platformKey, header: map[string]string{"Stripe-Context": "acct_third"}})
	var session struct {
		Token string `json:"authentication_token"`
	}
	if a.into(t, &session); a.status != 200 {
		t.Fatal(a.body)
	}
	if a := f.do(call{path: streamPath, key: session.Token, body: oneEvent}); a.status != 200 {
		t.Fatal(a.body)
	}
	if r := f.records(); len(r) != 1 || !strings.HasPrefix(string(r[0].Key), "acct_third/testmode/") {
		t.Errorf("%v", r)
	}
	keys, err := auth.NewKeys([]auth.KeySpec{{Business: "acct_platform", Secret: platformKey, Accounts: []string{"acct_demo"}}})
	if err == nil {
		err = f.sessions.Update(keys, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if a := f.do(call{path: streamPath, key: session.Token, body: oneEvent}); a.status != 401 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
