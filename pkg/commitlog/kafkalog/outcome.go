package kafkalog

import (
	"fmt"

	"tollgate/pkg/commitlog"
)

// What to do when a broker answers a produce request, decided in one place: rules says what each answer means, decide
// what follows for a batch. Both are pure; lane and partition act.
//
// Two things are kept apart all the way. What an answer says about its own attempt: "landed" is whether the batch may be
// in the log because of it. And doubt: whether any attempt so far may have put it there. A batch is sent again with the
// same bytes, producer and sequence as often as needed, which is always safe: the broker takes it once. What is never
// safe is to send a batch in doubt under a new producer id, since the broker could not know it again.
//
// kafka-go has an opinion of its own, Error.Temporary. It calls a bad CRC temporary and is not asked.

// action is what an answer asks for.
type action int

const (
	// accept: the batch is durable at the offset in the answer.
	accept action = iota
	// retry: send the same again, after a pause.
	retry
	// refresh: as retry, and ask who leads the partition now.
	refresh
	// replace: the broker does not agree with our sequence; go on with a new producer id from sequence 0.
	replace
	// recognise: the broker has this sequence already.
	recognise
	// refuse: the batch can not be taken for what it is.
	refuse
	// deny: the batch is fine, we are not allowed or not able; a person has to act.
	deny
)

// rule is what one error code of a produce answer means.
type rule struct {
	name   string
	action action
	// landed: this attempt may have put the batch into the log in spite of the error.
	landed bool
	reason string
}

// rules, by error code (kafka.apache.org/protocol#protocol_error_codes). Refused batches use up no sequence number: the
// broker counts what it appends.
var rules = map[int16]rule{
	0: {"NONE", accept, true, "all in-sync replicas have it"},

	// The broker could not, now. The same again will do.
	-1: {"UNKNOWN_SERVER_ERROR", retry, true, "an exception in the broker, before or after the write"},
	7:  {"REQUEST_TIMED_OUT", retry, true, "written, and not replicated in time"},
	13: {"NETWORK_EXCEPTION", retry, true, "the broker lost a connection of its own"},
	14: {"COORDINATOR_LOAD_IN_PROGRESS", retry, false, "a young cluster is loading its state"},
	15: {"COORDINATOR_NOT_AVAILABLE", retry, false, "a young cluster has no coordinator yet"},
	16: {"NOT_COORDINATOR", retry, false, "the coordinator moved"},
	19: {"NOT_ENOUGH_REPLICAS", retry, false, "fewer in sync than min.insync.replicas: checked before the write"},
	20: {"NOT_ENOUGH_REPLICAS_AFTER_APPEND", retry, true, "written by the leader, then replicas fell out of sync"},
	51: {"CONCURRENT_TRANSACTIONS", retry, false, "the producer id is being set up"},
	56: {"KAFKA_STORAGE_ERROR", refresh, true, "the broker's disk failed, in the middle of the write perhaps; its replicas take over"},
	89: {"THROTTLING_QUOTA_EXCEEDED", retry, false, "a quota; the broker wants a pause"},

	// We asked the wrong broker. A leader that lost its office while the batch waited for its replicas answers so too,
	// and then the batch may survive in the new leader: landed.
	3:   {"UNKNOWN_TOPIC_OR_PARTITION", refresh, true, "the broker does not hold the partition, or no longer"},
	5:   {"LEADER_NOT_AVAILABLE", refresh, true, "an election is going on"},
	6:   {"NOT_LEADER_OR_FOLLOWER", refresh, true, "the leader moved"},
	8:   {"BROKER_NOT_AVAILABLE", refresh, true, "the broker is going"},
	9:   {"REPLICA_NOT_AVAILABLE", refresh, true, "the replica is being moved"},
	72:  {"LISTENER_NOT_FOUND", refresh, false, "the leader has no listener of our kind yet"},
	74:  {"FENCED_LEADER_EPOCH", refresh, true, "the leader moved"},
	75:  {"UNKNOWN_LEADER_EPOCH", refresh, true, "the broker is behind"},
	100: {"UNKNOWN_TOPIC_ID", refresh, true, "the topic was made again"},
	103: {"INCONSISTENT_TOPIC_ID", refresh, true, "the topic was made again"},

	// The broker and we count differently. In each case it has not appended this attempt.
	45: {"OUT_OF_ORDER_SEQUENCE_NUMBER", replace, false, "the log lost what we sent before, or the state of our producer"},
	47: {"INVALID_PRODUCER_EPOCH", replace, false, "the broker knows a later epoch of our producer id"},
	49: {"INVALID_PRODUCER_ID_MAPPING", replace, false, "the broker gave our producer id away"},
	59: {"UNKNOWN_PRODUCER_ID", replace, false, "retention removed everything the broker knew of us"},
	90: {"PRODUCER_FENCED", replace, false, "another producer took over our id"},
	46: {"DUPLICATE_SEQUENCE_NUMBER", recognise, false, "this sequence is in the log, too far back to name the offset"},

	// The batch.
	2:  {"CORRUPT_MESSAGE", refuse, false, "the CRC is computed while the batch is built: memory is at fault, the same again would be too"},
	4:  {"INVALID_FETCH_SIZE", refuse, false, "not an answer to a produce request"},
	10: {"MESSAGE_TOO_LARGE", refuse, false, "larger than the topic's max.message.bytes"},
	17: {"INVALID_TOPIC_EXCEPTION", refuse, false, "not a name for a topic, or an internal one"},
	18: {"RECORD_LIST_TOO_LARGE", refuse, false, "larger than a segment"},
	21: {"INVALID_REQUIRED_ACKS", refuse, false, "acks is -1, always"},
	32: {"INVALID_TIMESTAMP", refuse, false, "a timestamp too far from the broker's clock (message.timestamp.after.max.ms)"},
	42: {"INVALID_REQUEST", refuse, false, "the broker could not make sense of the request"},
	43: {"UNSUPPORTED_FOR_MESSAGE_FORMAT", refuse, false, "the topic keeps an old message format"},
	76: {"UNSUPPORTED_COMPRESSION_TYPE", refuse, false, "the broker does not know the codec"},
	87: {"INVALID_RECORD", refuse, false, "the records do not fit their header, or the topic wants keys"},

	// Us.
	29: {"TOPIC_AUTHORIZATION_FAILED", deny, false, "we may not write the topic: grant WRITE to our user"},
	31: {"CLUSTER_AUTHORIZATION_FAILED", deny, false, "we may not write idempotently: grant IDEMPOTENT_WRITE, or WRITE on the topic"},
	33: {"UNSUPPORTED_SASL_MECHANISM", deny, false, "the broker does not offer this SASL mechanism"},
	34: {"ILLEGAL_SASL_STATE", deny, false, "the listener wants SASL, or has had it"},
	35: {"UNSUPPORTED_VERSION", deny, false, "the broker is too old: Kafka 2.3 or later"},
	44: {"POLICY_VIOLATION", deny, false, "a policy of the cluster forbids it"},
	53: {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", deny, false, "we use no transactional id"},
	55: {"SECURITY_DISABLED", deny, false, "the broker has no security to speak of"},
	58: {"SASL_AUTHENTICATION_FAILED", deny, false, "user or password is wrong"},
}

// ruleFor is the rule of a code. One that a later Kafka invents is retried: the same bytes and sequence do no harm.
func ruleFor(code int16) rule {
	if r, known := rules[code]; known {
		return r
	}
	return rule{fmt.Sprintf("error %d", code), retry, true, "an error code that this program does not know"}
}

// verdict is what becomes of a batch after an attempt.
type verdict struct {
	// final: the batch is completed with err, which wraps one of commitlog's errors, or nil. Otherwise it is sent again
	// and err is what went wrong.
	final bool
	err   error
	// doubt: from now on the batch may be in the log. Meaningful when not final.
	doubt bool
	// base is known: the answer's offset is the batch's. Meaningful when final and err is nil.
	base bool
	// replace: the partition goes on with a new producer id.
	replace bool
	// refresh: leaders should be asked for.
	refresh bool
	// lost: err is unknown since the broker does not agree with our sequence.
	lost bool
}

// decide says what follows from an answer, given whether earlier attempts left the batch in doubt.
func decide(code int16, message string, doubt bool) verdict {
	r := ruleFor(code)
	answer := describe(code, message)
	switch r.action {
	case accept:
		return verdict{final: true, base: true}
	case recognise:
		if doubt {
			// Our own earlier attempt: durable, and nobody can say where.
			return verdict{final: true}
		}
		// Something else has our sequence, since this batch was never sent.
		return verdict{err: answer, replace: true}
	case replace:
		if doubt {
			return verdict{final: true, err: unknown(answer), replace: true, lost: true}
		}
		return verdict{err: answer, replace: true}
	case refuse, deny:
		if doubt {
			// It was good enough an attempt ago, which may have been taken. Where the sequence stands is unknown with it.
			return verdict{final: true, err: unknown(answer), replace: true}
		}
		outcome := commitlog.ErrRefused
		if r.action == deny {
			outcome = commitlog.ErrUnavailable
		}
		return verdict{final: true, err: fmt.Errorf("%w: %w", outcome, answer)}
	}
	return verdict{err: answer, doubt: doubt || r.landed, refresh: r.action == refresh}
}

// decideLost says what follows when no answer came. written tells whether the broker can have got the request.
func decideLost(err error, written, doubt bool) verdict {
	return verdict{err: err, doubt: doubt || written, refresh: true}
}

func unknown(why error) error {
	return fmt.Errorf("%w: an earlier attempt was not answered, and then: %w", commitlog.ErrUnknown, why)
}

// brokerError is an error code that a broker answered with.
type brokerError struct {
	code    int16
	message string // the broker's own words, often empty
}

// describe is nil for code 0.
func describe(code int16, message string) error {
	if code == 0 {
		return nil
	}
	return &brokerError{code, message}
}

func (e *brokerError) Error() string {
	r := ruleFor(e.code)
	if name, known := adminErrors[e.code]; known {
		r = rule{name: name, reason: "see Kafka's protocol error codes"}
	}
	if named, known := groupErrors[e.code]; known {
		r = named
	}
	if e.message != "" {
		return fmt.Sprintf("Kafka answered %s (%d): %s (%s)", r.name, e.code, r.reason, e.message)
	}
	return fmt.Sprintf("Kafka answered %s (%d): %s", r.name, e.code, r.reason)
}
