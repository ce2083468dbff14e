// Package rowstore is an embedded store of rows that is a cache of a log: it can be lost, and must never be wiped to get
// going again.
//
// What a library for such stores does when a disk fails or bytes are wrong is made for programs that may end: it prints
// and exits, panics with its locks held, or begins anew where its manifest is gone. Here each of these ends the store
// alone. From then on Usable says why, every call does, and Up has ended, for those that wait in the library for ever.
//
//	s, err := rowstore.Open(rowstore.Config[*DamagedError]{Room: "usage", What: "the state", Path: dir, Format: 2, Damage: …})
//	value, found, err := s.Get(s.DB, key)
//	err = s.Write(pebble.NoSync, func(b *pebble.Batch) error { return b.Set(key, value, nil) })
//
// D is the error by which a room says to its callers that its store can not be used, and what a person can do about it.
// All methods may be called at once.
//
// The package will not say what rows mean, log, or decide when a store is to be closed.
package rowstore
