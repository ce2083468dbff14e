package ledger

import "encoding/hex"

// An identifier says where its event was counted:
//
//	tgb-5f3a01c9-002a-00000004d2
//	    run      lane sequence      all in hexadecimal, lower case
//
// Its length is fixed, so that a sender patches digits in place and a reader takes them from known columns.
const (
	IdentifierBytes = 28
	PrefixBytes     = 13 // "tgb-", run and "-": the same for all events of a run
	LanesMax        = 1 << 16
	SequenceMax     = 1 << 40

	laneAt     = PrefixBytes
	sequenceAt = laneAt + 5
)

// AppendIdentifier appends the identifier of an event.
func AppendIdentifier(dst []byte, run uint32, lane int, sequence uint64) []byte {
	dst = append(dst, "tgb-........-....-.........."...)
	id := dst[len(dst)-IdentifierBytes:]
	putHex(id[4:12], uint64(run))
	putHex(id[laneAt:laneAt+4], uint64(lane))
	PutSequence(id, sequence)
	return dst
}

// PutSequence writes another sequence number into an identifier.
func PutSequence(identifier []byte, sequence uint64) {
	putHex(identifier[sequenceAt:IdentifierBytes], sequence)
}

// ParseIdentifier takes lane and sequence number from an identifier of this form; whose run it is, is the caller's to
// compare by the first PrefixBytes.
func ParseIdentifier(id []byte) (lane int, sequence uint64, ok bool) {
	if len(id) != IdentifierBytes || string(id[:4]) != "tgb-" || id[12] != '-' || id[sequenceAt-1] != '-' {
		return 0, 0, false
	}
	l, okLane := getHex(id[laneAt : laneAt+4])
	sequence, okSequence := getHex(id[sequenceAt:])
	return int(l), sequence, okLane && okSequence
}

const digits = "0123456789abcdef"

func putHex(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = digits[v&15]
		v >>= 4
	}
}

func getHex(src []byte) (v uint64, ok bool) {
	for _, c := range src {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// RunName is a run's number as it stands in its identifiers.
func RunName(run uint32) string {
	return hex.EncodeToString([]byte{byte(run >> 24), byte(run >> 16), byte(run >> 8), byte(run)})
}
