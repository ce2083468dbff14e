package fakestripe

import (
	"encoding/json"
	"net/http"
	"time"
)

// Admin is the way to the control methods for tests in other processes. It belongs on /fake/ beside the fake itself; it
// has no key, and no request to it is counted, limited or struck by a fault.
//
//	GET    /fake/state                            [State, …] of all accounts
//	GET    /fake/totals?business=b&livemode=true  [Total, …]
//	GET    /fake/events?business=b                a line for each Event
//	GET    /fake/event?business=b&event_name=n&identifier=i
//	GET    /fake/sum?business=b&event_name=n&customer=c&start=1&end=2   {"value": "…"}
//	GET    /fake/requests                         [Request, …]
//	POST   /fake/faults                           [Fault, …]; DELETE clears, GET says how many are pending
//	POST   /fake/limits                           Limits
//	POST   /fake/meters?business=b                Meter → {"id": "…"}
//	POST   /fake/jump?by=1h, /fake/release, /fake/restart, /fake/revoke?business=b
func (s *Stripe) Admin() http.Handler {
	m := http.NewServeMux()
	get := func(path string, f func(a Account, r *http.Request) (any, int)) {
		m.HandleFunc("GET /fake/"+path, func(w http.ResponseWriter, r *http.Request) {
			got, status := f(accountOf(r), r)
			reply(w, status, got)
		})
	}
	get("state", func(Account, *http.Request) (any, int) {
		list := []State{}
		for _, a := range s.Accounts() {
			list = append(list, s.State(a))
		}
		return list, http.StatusOK
	})
	get("totals", func(a Account, _ *http.Request) (any, int) { return append([]Total{}, s.Totals(a)...), http.StatusOK })
	get("requests", func(Account, *http.Request) (any, int) { return s.Requests(), http.StatusOK })
	get("faults", func(Account, *http.Request) (any, int) {
		return map[string]int{"pending": s.Pending(), "late": s.LateRequests()}, http.StatusOK
	})
	get("event", func(a Account, r *http.Request) (any, int) {
		e, ok := s.Event(a, r.FormValue("event_name"), r.FormValue("identifier"))
		if !ok {
			return nil, http.StatusNotFound
		}
		return e, http.StatusOK
	})
	get("sum", func(a Account, r *http.Request) (any, int) {
		start, fine := parseUnix(r.FormValue("start"))
		end, fineToo := parseUnix(r.FormValue("end"))
		if !fine || !fineToo {
			return "start and end are unix seconds", http.StatusBadRequest
		}
		return map[string]string{"value": s.Sum(a, r.FormValue("event_name"), r.FormValue("customer"), start, end)}, http.StatusOK
	})
	m.HandleFunc("GET /fake/events", func(w http.ResponseWriter, r *http.Request) {
		to := json.NewEncoder(w)
		for _, e := range s.Events(accountOf(r)) {
			if to.Encode(e) != nil {
				return
			}
		}
	})
	s.adminChanges(m)
	return m
}

func (s *Stripe) adminChanges(m *http.ServeMux) {
	post := func(path string, f func(a Account, r *http.Request) (any, error)) {
		m.HandleFunc("POST /fake/"+path, func(w http.ResponseWriter, r *http.Request) {
			got, err := f(accountOf(r), r)
			if err != nil {
				reply(w, http.StatusBadRequest, err.Error())
				return
			}
			reply(w, http.StatusOK, got)
		})
	}
	done := func(f func()) func(Account, *http.Request) (any, error) {
		return func(Account, *http.Request) (any, error) { f(); return struct{}{}, nil }
	}
	post("release", done(s.Release))
	post("restart", done(s.Restart))
	m.HandleFunc("DELETE /fake/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		reply(w, http.StatusOK, struct{}{})
	})
	post("revoke", func(a Account, _ *http.Request) (any, error) { s.RevokeSessions(a); return struct{}{}, nil })
	post("jump", func(_ Account, r *http.Request) (any, error) {
		by, err := time.ParseDuration(r.FormValue("by"))
		if err == nil {
			s.Jump(by)
		}
		return struct{}{}, err
	})
	post("faults", func(_ Account, r *http.Request) (any, error) {
		var list []Fault
		if err := decode(r, &list); err != nil {
			return nil, err
		}
		return struct{}{}, s.Inject(list...)
	})
	post("limits", func(_ Account, r *http.Request) (any, error) {
		var l Limits
		err := decode(r, &l)
		if err == nil {
			s.SetLimits(l)
		}
		return struct{}{}, err
	})
	post("meters", func(a Account, r *http.Request) (any, error) {
		var meter Meter
		if err := decode(r, &meter); err != nil {
			return nil, err
		}
		id, err := s.CreateMeter(a, meter)
		return map[string]string{"id": id}, err
	})
}

func accountOf(r *http.Request) Account {
	q := r.URL.Query()
	return Account{Business: q.Get("business"), Live: q.Get("livemode") == "true"}
}

func decode(r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, bodyBytesMax))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
