package kafkalog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// What a member tells the others of its state, in the user data of its subscription:
//
//	version: one byte, 1
//	partitions of the topic, as the member knows it: uvarint
//	how many it has state of: uvarint, and of each, by number:
//	    number less the one before, the first less -1: uvarint
//	    offset up to which: uvarint
const (
	heldVersion = 1
	// heldOffsetMax bounds what is believed, so that sums of such do not overflow.
	heldOffsetMax = 1 << 48
	// partitionsMax is more than Kafka can have of one topic.
	partitionsMax = 1 << 20
)

var errHeld = errors.New("not a member's state, as we write it")

func encodeHeld(partitions int, held map[int32]int64) []byte {
	numbers := slices.Sorted(maps.Keys(held))
	numbers = slices.DeleteFunc(numbers, func(p int32) bool { return p < 0 || int(p) >= partitions || held[p] <= 0 })
	b := []byte{heldVersion}
	b = binary.AppendUvarint(b, uint64(partitions))
	b = binary.AppendUvarint(b, uint64(len(numbers)))
	before := int32(-1)
	for _, p := range numbers {
		b = binary.AppendUvarint(b, uint64(p-before))
		b = binary.AppendUvarint(b, uint64(held[p]))
		before = p
	}
	return b
}

func decodeHeld(b []byte) (partitions int, held map[int32]int64, err error) {
	if len(b) == 0 || b[0] != heldVersion {
		return 0, nil, errHeld
	}
	b = b[1:]
	next := func(most uint64) uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > most {
			err, b = errHeld, nil
			return 0
		}
		b = b[n:]
		return v
	}
	partitions = int(next(partitionsMax))
	count := next(uint64(partitions))
	held = make(map[int32]int64, min(count, 1024))
	p := int64(-1)
	for range count {
		p += int64(next(partitionsMax))
		offset := next(1 << 62)
		if err != nil || p < 0 || p >= int64(partitions) {
			return 0, nil, errHeld
		}
		held[int32(p)] = int64(min(offset, heldOffsetMax))
	}
	if err != nil || len(b) > 0 || len(held) != int(count) {
		return 0, nil, errHeld
	}
	return partitions, held, nil
}

// candidate is a member as the leader sees it.
type candidate struct {
	id         string
	partitions int // of the topic, as it knows it
	held       map[int32]int64
}

// worth is what it saves to give a partition to this member: records that need not be read again. One that does not
// know the partition gets it only when there is no other way to share evenly.
func (c *candidate) worth(partition int) int64 {
	if partition >= c.partitions {
		return -heldOffsetMax
	}
	return c.held[int32(partition)]
}

// passesMax bounds the improvement of a share. Two or three are usual.
const passesMax = 16

// share gives every partition of the topic to a member: no member has two more than another, and as far as that allows
// partitions are with those who hold most of their state. The same candidates, in any order, give the same share. Every
// candidate is in the answer.
//
// It gives the best offers away first and then improves the share by exchanging two partitions, or moving one, as long
// as that saves something. Offers alone are not enough: when a member comes back, the one that stood in for it holds
// more of every partition, and has to give up just those of which the other holds at least an older state.
func share(candidates []candidate) map[string][]int32 {
	shares := make(map[string][]int32, len(candidates))
	if len(candidates) == 0 {
		return shares
	}
	s := newSharing(candidates)
	s.give()
	for range passesMax {
		if !s.improve() {
			break
		}
	}
	for _, c := range s.members {
		shares[c.id] = nil
	}
	for p, m := range s.owner {
		id := s.members[m].id
		shares[id] = append(shares[id], int32(p))
	}
	return shares
}

type sharing struct {
	members []candidate
	worth   [][]int64 // by member and partition
	owner   []int     // by partition, an index of members; -1: nobody yet
	count   []int     // by member
	least   int       // partitions that every member gets
	extras  int       // members that still get one more
}

func newSharing(candidates []candidate) *sharing {
	s := &sharing{members: slices.Clone(candidates), count: make([]int, len(candidates))}
	slices.SortFunc(s.members, func(a, b candidate) int { return cmp.Compare(a.id, b.id) })
	n := 0
	for _, c := range s.members {
		n = max(n, c.partitions)
	}
	for i := range s.members {
		row := make([]int64, n)
		for p := range row {
			row[p] = s.members[i].worth(p)
		}
		s.worth = append(s.worth, row)
	}
	s.owner = slices.Repeat([]int{-1}, n)
	s.least, s.extras = n/len(s.members), n%len(s.members)
	return s
}

func (s *sharing) room(m int) bool {
	return s.count[m] < s.least || s.count[m] == s.least && s.extras > 0
}

func (s *sharing) take(p, m int) {
	if s.count[m] == s.least {
		s.extras--
	}
	s.count[m]++
	s.owner[p] = m
}

// give hands out every partition, the best offers first.
func (s *sharing) give() {
	type offer struct {
		worth int64
		p, m  int
	}
	var offers []offer
	for m, row := range s.worth {
		for p, worth := range row {
			offers = append(offers, offer{worth, p, m})
		}
	}
	slices.SortFunc(offers, func(a, b offer) int {
		return cmp.Or(cmp.Compare(b.worth, a.worth), cmp.Compare(a.p, b.p), cmp.Compare(a.m, b.m))
	})
	for _, o := range offers {
		if s.owner[o.p] < 0 && s.room(o.m) {
			s.take(o.p, o.m)
		}
	}
}

// improve makes every exchange that saves something, and tells whether there was one.
func (s *sharing) improve() (improved bool) {
	for p := range s.owner {
		for q := p + 1; q < len(s.owner); q++ {
			a, b := s.owner[p], s.owner[q]
			if a != b && s.worth[a][q]+s.worth[b][p] > s.worth[a][p]+s.worth[b][q] {
				s.owner[p], s.owner[q], improved = b, a, true
			}
		}
		for m := range s.members {
			if a := s.owner[p]; s.count[a] == s.count[m]+1 && s.worth[m][p] > s.worth[a][p] {
				s.owner[p], improved = m, true
				s.count[a]--
				s.count[m]++
			}
		}
	}
	return improved
}
