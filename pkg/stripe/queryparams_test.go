package stripe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/stripe/stripe-go/v85"
)

func TestAnArrayIsReadInAllItsSpellings(t *testing.T) {
	f := func(query string, want ...string) {
		t.Helper()
		form := formOf(t, query)
		got, err := form.Array("types", 20)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", query, got, err, want)
		}
		if err := form.Unknown(); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	f("types[0]=a&types[1]=b", "a", "b")
	f("types=a&types=b", "a", "b")
	f("types[]=a&types[]=b", "a", "b")
	f("types%5B0%5D=a", "a")
	f("types[1]=b&types[0]=a", "a", "b")
	f("types[10]=c&types[9]=b&types[3]=a", "a", "b", "c")
	f("types[]=b&types[]=a&types[]=b", "b", "a", "b")
	f("types=a%2Bb", "a+b")
	f("types[19]=z", "z")
	letters := strings.Split("tsrqponmlkjihgfedcba", "")
	f("types="+strings.Join(letters, "&types="), letters...)
	f("")
	form := formOf(t, "typesx=1&type[0]=2&types=a")
	if got, err := form.Array("types", 20); err != nil || len(got) != 1 {
		t.Errorf("%q %v", got, err)
	}
	if err := form.Unknown(); err == nil {
		t.Error("a parameter whose name only begins like the array's was taken")
	}
	if got, _ := formOf(t, "a=1").Array("types", 20); got != nil {
		t.Error("an absent array is not nil")
	}
}

func TestAnArrayThatIsNotOneIsRefusedByName(t *testing.T) {
	f := func(query, code, param, saying string) {
		t.Helper()
		got, err := formOf(t, query).Array("types", 20)
		e, ok := errors.AsType[*Error](err)
		if !ok || got != nil || e.Status != 400 || e.Code != code || e.CodeV2 != "invalid_fields" || e.Param != param || !strings.Contains(e.Message, saying) {
			t.Errorf("%s: %q, %v, not %q on %s with %q", query, got, err, code, param, saying)
		}
	}
	f("types[0]=a&types[]=b", "", "types", "spelled in two ways")
	f("types=a&types[0]=b", "", "types", "spelled in two ways")
	f("types=a&types[]=b", "", "types", "spelled in two ways")
	f("types=", "parameter_invalid_empty", "types", "")
	f("types[0]=", "parameter_invalid_empty", "types[0]", "")
	f("types[0]=a&types[0]=b", "", "types[0]", "more than once")
	for _, key := range []string{"a", "-1", "00", "01", "+1", "1.0", "1000", "99999999999999999999", " 1"} {
		f("types["+key+"]=a", "", "types["+strings.ReplaceAll(key, "+", " ")+"]", "a value with its index")
	}
	f("types[0][0]=a", "", "types[0][0]", "a value with its index")
	f("types[0][]=a", "", "types[0][]", "a value with its index")
	f("types[20]=a", "", "types", "at most 20 values")
	f("types[999]=a", "", "types", "at most 20 values")
	f(strings.Repeat("types=a&", 21), "", "types", "at most 20 values")
	f(strings.Repeat("types[]=a&", 21), "", "types", "at most 20 values")
	if got, err := formOf(t, strings.Repeat("types[]=a&", 20)).Array("types", 20); err != nil || len(got) != 20 {
		t.Errorf("%q %v", got, err)
	}
}

const momentMs = 1772446501000 // 2026-03-02T10:15:01Z

func TestATimeIsRFC3339OrUnixSeconds(t *testing.T) {
	const refused = math.MinInt64
	f := func(text string, want int64) {
		t.Helper()
		got, present, err := formOf(t, "created[gt]="+text).Time("created[gt]")
		if want == refused {
			e, ok := errors.AsType[*Error](err)
			if !ok || present || e.Status != 400 || e.CodeV2 != "invalid_fields" || e.Param != "created[gt]" {
				t.Errorf("%s: got %d, %v", text, got, err)
			}
			return
		}
		if err != nil || !present || got != want {
			t.Errorf("%s: got %d, %v; want %d", text, got, err, want)
		}
	}
	f("1772446501", momentMs)
	f("0", 0)
	f("253402300799", 253402300799000)
	f("2026-03-02T10:15:01Z", momentMs)
	f("2026-03-02t10:15:01z", momentMs)
	f("2026-03-02T10:15:01.1Z", momentMs+100)
	f("2026-03-02T10:15:01.999999999Z", momentMs+999)
	f("2026-03-02T12:15:01.123456789%2B02:00", momentMs+123)
	f("2026-03-02T12:15:01+02:00", momentMs) // the plus sign was not escaped
	f("2026-03-02T12:15:01.5+02:00", momentMs+500)
	f("2026-03-02T10:15:01-00:00", momentMs)
	f("2026-03-01T10:16:01-23:59", momentMs)
	f("9999-12-31T23:59:59.999Z", 253402300799999)
	f("1970-01-01T00:00:00Z", 0)

	f("", refused)
	f("-1", refused)
	f("%2B1772446501", refused)
	f("1772446501.5", refused)
	f("1772446501000", refused) // milliseconds, as JavaScript has them
	f("253402300800", refused)
	f("99999999999999999999", refused)
	f("1e9", refused)
	f("yesterday", refused)
	f("2026-03-02", refused)
	f("2026-03-02T10:15:01", refused)
	f("2026-03-02 10:15:01Z", refused)
	f("2026-03-02T1:15:01Z", refused)
	f("2026-03-02T10:15:01,5Z", refused)
	f("2026-03-02T10:15:01.Z", refused)
	f("2026-03-02T10:15:01.0000000000Z", refused)
	f("2026-03-02T10:15:01%2B0200", refused)
	f("2026-03-02T10:15:01%2B24:00", refused)
	f("2026-02-29T00:00:00Z", refused)
	f("2016-12-31T23:59:60Z", refused)
	f("1969-12-31T23:59:59.9Z", refused)
	f("9999-12-31T23:59:59-00:01", refused)
	f("2026-03-02T10:15:01Zx", refused)
	f("2026-03-02T10:15:01%2B00:60", refused)
	f("2026-03-02T10:15:01%2B0a:00", refused)
	f("2026-03-02T10:15:01%2B02.00", refused)
	f("2026-03-02T10:15:01x02:00", refused)
	f("2026-03-02T24:00:00Z", refused)
	f("2026-03-02T10:60:00Z", refused)
	f("2026-03-00T10:00:00Z", refused)
	f("2026-13-02T10:00:00Z", refused)
	f("2026-03-02T10:15:0:Z", refused)
	f("2026-03-02T10:15:0%2FZ", refused)

	if ms, present, err := formOf(t, "created[lt]=1").Time("created[gt]"); present || err != nil {
		t.Errorf("%d %v", ms, err)
	}
	if _, _, err := formOf(t, "created[gt]=1&created[gt]=2").Time("created[gt]"); err == nil {
		t.Error("a time that is given twice was taken")
	}
}

func TestATimeRangeHasItsBoundsOnTheRightSide(t *testing.T) {
	f := func(query string, from, before int64) {
		t.Helper()
		form := formOf(t, query)
		gotFrom, gotBefore, err := form.TimeRange("created")
		if err != nil || gotFrom != from || gotBefore != before {
			t.Errorf("%s: got %d to %d, %v; want %d to %d", query, gotFrom, gotBefore, err, from, before)
		}
		if err := form.Unknown(); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	f("", 0, 0)
	f("created[gt]=1772446501", momentMs+1, 0)
	f("created[gte]=1772446501", momentMs, 0)
	f("created[lt]=1772446501", 0, momentMs)
	f("created[lte]=1772446501", 0, momentMs+1)
	f("created[gt]=1&created[gte]=5&created[lt]=20&created[lte]=9", 5000, 9001)
	f("created[gt]=5&created[gte]=5&created[lt]=9&created[lte]=9", 5001, 9000)
	f("created[gt]=9&created[lt]=5", 9001, 5000)
	f("created[lt]=0", 0, 1)
	f("created[lt]=1970-01-01T00:00:00.0001Z", 0, 1)
	for _, bad := range []string{"created=5", "created[gt]=x", "created[lte]=1&created[lte]=1", "created[gt][x]=1"} {
		if _, _, err := formOf(t, bad).TimeRange("created"); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	form := formOf(t, "created[ge]=5")
	if _, _, err := form.TimeRange("created"); err != nil || form.Unknown() == nil {
		t.Error("a bound of another name was taken")
	}
}

// Against the definition: what is in the range is what compares so with the bound, whatever its decimals.
func FuzzTimeRange(f *testing.F) {
	f.Add(int64(momentMs*1000), uint8(1), int64(0))
	f.Add(int64(momentMs*1000+1), uint8(2), int64(1))
	f.Fuzz(func(t *testing.T, micros int64, which uint8, delta int64) {
		micros = int64(uint64(micros) % (beyondMax * 1_000_000))
		name := []string{"gt", "gte", "lt", "lte"}[which%4]
		bound := time.UnixMicro(micros).UTC()
		form := new(Form)
		noError(t, ParseForm(form, fmt.Appendf(nil, "created[%s]=%s", name, bound.Format(time.RFC3339Nano))))
		from, before, err := form.TimeRange("created")
		noError(t, err)
		ms := bound.UnixMilli() + delta%3
		if ms < 1 {
			return
		}
		order := time.UnixMilli(ms).Compare(bound)
		want := map[string]bool{"gt": order > 0, "gte": order >= 0, "lt": order < 0, "lte": order <= 0}[name]
		if got := (from == 0 || ms >= from) && (before == 0 || ms < before); got != want {
			t.Fatalf("%s %v: %d is in the range from %d to %d: %v", name, bound, ms, from, before, got)
		}
	})
}

// What is read is what package time reads, which is less strict, and its own spelling is read as the same.
func FuzzParseInstant(f *testing.F) {
	for _, seed := range []string{"1772446501", "2026-03-02T10:15:01.123456789+02:00", "2026-03-02t10:15:01z", "2026-03-02T10:15:01 02:00", "0000-01-01T00:00:00Z", "-5", "2026-03-02T10:15:01.Z", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := string(text)
		at, ok := parseInstant(text)
		if string(text) != before {
			t.Fatal("the text was changed")
		}
		if !ok || at.Year() < 1970 || at.Year() > 9999 {
			return
		}
		if strings.Contains(before, "T") && !strings.Contains(before, " ") {
			if peer, err := time.Parse(time.RFC3339, strings.Replace(before, "z", "Z", 1)); err != nil || !peer.Equal(at) {
				t.Fatalf("%q is %v, and to package time %v, %v", text, at, peer, err)
			}
		}
		again, ok := parseInstant(at.AppendFormat(nil, time.RFC3339Nano))
		if !ok || !again.Equal(at) {
			t.Fatalf("%q is %v, which is read as %v", text, at, again)
		}
	})
}

func FuzzArray(f *testing.F) {
	for _, seed := range []string{"a=1&a=2", "a[]=1", "a[0]=1&a[2]=x", "a[0]=1&a[]=2", "b=1&a[19]=2", "a[0][0]=1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		form := new(Form)
		if ParseForm(form, query) != nil {
			return
		}
		values, err := form.Array("a", 20)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Status != 400 || e.CodeV2 != "invalid_fields" || values != nil {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		given := 0
		for i := range form.pairs {
			if name := form.view(form.pairs[i].name); string(name) == "a" || isInside(name, "a") {
				given++
			}
		}
		if given != len(values) || given > 20 || slices.Contains(values, "") {
			t.Fatalf("%q: %d values were given, %q read", query, given, values)
		}
	})
}

// The SDK's own query encoder against our parser.
func TestTheOfficialSDKsQueryIsUnderstood(t *testing.T) {
	var query string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		w.Write([]byte(`{"data":[],"next_page_url":null,"previous_page_url":null}`))
	}))
	defer server.Close()
	client := sdk.NewClient("sk_test_123", sdk.WithBackends(sdk.NewBackendsWithConfig(&sdk.BackendConfig{URL: sdk.String(server.URL)})))
	ctx := context.Background()
	params := &sdk.V2CoreEventListParams{
		ObjectID: sdk.String("mtr_1"), Types: []*string{sdk.String("a.b"), sdk.String("c")}, Limit: sdk.Int64(7),
	}
	for range client.V2CoreEvents.List(ctx, params).All(ctx) {
		t.Error("an event in an empty list")
	}
	form := formOf(t, query)
	types, err := form.Array("types", 20)
	noError(t, err)
	object, _, err := form.Optional("object_id")
	noError(t, err)
	limit, _, err := form.OptionalInteger("limit")
	noError(t, err)
	if !slices.Equal(types, []string{"a.b", "c"}) || string(object) != "mtr_1" || limit != 7 || form.Unknown() != nil {
		t.Errorf("%s: %q %s %d %v", query, types, object, limit, form.Unknown())
	}
}
