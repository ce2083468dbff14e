package fakestripe_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tollgate/test/fakestripe"
)

type summaries struct {
	Data []struct {
		ID    string
		Value json.Number `json:"aggregated_value"`
		Start int64       `json:"start_time"`
		End   int64       `json:"end_time"`
	}
	More bool `json:"has_more"`
}

func (r *rig) summaries(id, query string) (list summaries) {
	r.t.Helper()
	got := r.get(v1Meters + "/" + id + "/event_summaries?customer=cus_1&" + query)
	if err := json.Unmarshal([]byte(got.Body), &list); err != nil || got.Status != 200 {
		r.t.Errorf("%s: answered %+v", query, got)
	}
	return list
}

func (r *rig) meterID(name string) string {
	r.t.Helper()
	var list struct {
		Data []struct {
			ID   string
			Name string `json:"event_name"`
		}
	}
	_ = json.Unmarshal([]byte(r.get(v1Meters+"?limit=100").Body), &list)
	for _, m := range list.Data {
		if m.Name == name {
			return m.ID
		}
	}
	r.t.Fatalf("there is no meter %s", name)
	return ""
}

func TestFormulas(t *testing.T) {
	for _, c := range []struct {
		meter  string
		values []string // a minute apart
		want   string
	}{
		{"sum", []string{"3", "-1", "0.5"}, "2.5"},
		{"sum", []string{"0.1", "0.2"}, "0.3"},
		{"sum", []string{"999999999999999", "0.000000000000001"}, "999999999999999.000000000000001"},
		{"sum", []string{"1.50", "-1.5"}, "0"},
		{"count", []string{"3", "-1", "0.5"}, "3"},
		{"last", []string{"3", "-1", "0.50"}, "0.5"},
		{"last", nil, "0"},
		{"hourly", []string{"3", "7"}, "7"},
	} {
		r := newRig(t, fakestripe.Config{})
		for i, v := range c.values {
			r.stream(usage(c.meter, "", v, start.Add(time.Duration(i)*time.Minute)))
		}
		if got := r.sum(c.meter); got != c.want {
			t.Errorf("%s of %v is %s, want %s", c.meter, c.values, got, c.want)
		}
	}
}

func TestTheOrderOfArrivalDecidesOnlyBetweenEqualTimes(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	r.stream(usage("last", "", "1", start), usage("last", "", "2", start.Add(-time.Minute)))
	if r.sum("last") != "1" {
		t.Errorf("an older event that came later is the last: %s", r.sum("last"))
	}
	r.stream(usage("last", "", "3", start))
	if r.sum("last") != "3" {
		t.Errorf("of equal times the first is the last: %s", r.sum("last"))
	}
}

func TestSumsAreExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	r := newRig(t, fakestripe.Config{})
	units := new(big.Int) // of 10^-12
	for range 50 {
		var events []string
		for range 100 {
			n := rnd.Int64N(2_000_000_000_000_000) - 1_000_000_000_000_000
			if n%2 == 0 {
				n /= 10_000_000
			}
			units.Add(units, big.NewInt(n))
			text := fmt.Sprintf("%013d", max(n, -n))
			sign := ""
			if n < 0 {
				sign = "-"
			}
			events = append(events, usage("sum", "", sign+text[:len(text)-12]+"."+text[len(text)-12:], start.Add(-time.Duration(rnd.IntN(100))*time.Hour)))
		}
		r.stream(events...)
	}
	want := new(big.Rat).SetFrac(units, new(big.Int).Exp(big.NewInt(10), big.NewInt(12), nil))
	got, ok := new(big.Rat).SetString(r.sum("sum"))
	if !ok || got.Cmp(want) != 0 {
		t.Errorf("the sum is %s, want %s", r.sum("sum"), want.FloatString(12))
	}
	byMinute := new(big.Rat)
	for _, total := range r.Totals(acct) {
		v, _ := new(big.Rat).SetString(total.Value)
		byMinute.Add(byMinute, v)
	}
	if byMinute.Cmp(want) != 0 {
		t.Errorf("the minutes sum up to %s, want %s", byMinute.FloatString(12), want.FloatString(12))
	}
}

func TestSummariesAreNewestFirstWithoutEmptyWindowsAndPaged(t *testing.T) {
	r := newRig(t, fakestripe.Config{})
	day := start.Truncate(24 * time.Hour)
	for _, h := range []int{0, 1, 1, 5, 9} {
		r.stream(usage("sum", "", "1.5", day.Add(time.Duration(h)*time.Hour+time.Minute)))
	}
	id := r.meterID("sum")
	all := fmt.Sprintf("start_time=%d&end_time=%d", day.Unix(), day.Add(24*time.Hour).Unix())
	if got := r.summaries(id, all); len(got.Data) != 1 || got.Data[0].Value != "7.5" || got.Data[0].Start != day.Unix() {
		t.Errorf("ungrouped: %+v", got)
	}
	if got := r.summaries(id, all+"&value_grouping_window=day"); len(got.Data) != 1 || got.Data[0].Value != "7.5" {
		t.Errorf("by day: %+v", got)
	}
	var values []string
	after := ""
	for page := 0; ; page++ {
		got := r.summaries(id, all+"&value_grouping_window=hour&limit=3"+after)
		for _, w := range got.Data {
			values = append(values, fmt.Sprintf("%d:%s", (w.Start-day.Unix())/3600, w.Value))
			after = "&starting_after=" + w.ID
			if w.End-w.Start != 3600 {
				t.Errorf("an hour is %+v", w)
			}
		}
		if !got.More {
			if page != 1 {
				t.Errorf("%d pages", page+1)
			}
			break
		}
	}
	if strings.Join(values, " ") != "9:1.5 5:1.5 1:3 0:1.5" {
		t.Errorf("by hour: %v", values)
	}
	if got := r.summaries(id, fmt.Sprintf("start_time=1&end_time=%d", start.Unix()+1)); len(got.Data) != 1 || got.Data[0].Start != 0 || got.Data[0].End != start.Unix()+60 {
		t.Errorf("what lies on no minute is widened: %+v", got)
	}
	path := v1Meters + "/" + id + "/event_summaries?customer=cus_1&"
	for _, bad := range []string{
		fmt.Sprintf("start_time=1&end_time=%d&value_grouping_window=hour", start.Unix()), all + "&value_grouping_window=week", all + "&limit=0", "start_time=5&end_time=5",
	} {
		if got := r.get(path + bad); got.Status != 400 {
			t.Errorf("%s: answered %+v", bad, got)
		}
	}
	r.want(r.get(path+"end_time=60"), 400, "parameter_missing")
	r.want(r.get(v1Meters+"/mtr_x/event_summaries?customer=cus_1&"+all), 404, "resource_missing")
}

func TestSummariesMayLagBehindTotals(t *testing.T) {
	r := newRig(t, fakestripe.Config{SettleAfter: time.Minute})
	id, all := r.meterID("sum"), fmt.Sprintf("start_time=0&end_time=%d", start.Unix()+3600)
	r.stream(usage("sum", "", "1", start), usage("sum", "", "2", start))
	if got := r.summaries(id, all); len(got.Data) != 0 || r.sum("sum") != "3" {
		t.Errorf("at once: %+v, in truth %s", got, r.sum("sum"))
	}
	r.Jump(time.Minute)
	if got := r.summaries(id, all); len(got.Data) != 1 || got.Data[0].Value != "3" {
		t.Errorf("after a minute: %+v", got)
	}
}
