package kafkalog

// lanesABroker is how many requests may be on their way to one broker. With two, the next set is encoded, and on its way,
// while the broker works on the last one; a broker works on one request a connection. More make the sets smaller.
const lanesABroker = 2

// broker is one broker of the cluster. Log.mu guards it.
type broker struct {
	id      int32
	address string
	// generation counts the faults seen on connections to it: a connection of an older generation is not used again,
	// since what ended one (a restart) has most likely ended the others.
	generation int
	list       []*partition // led by it, with a batch to send; in order of arrival
	lanes      []*lane
	idle       []*lane // those that wait for the list; the last one to come is woken first: its connection is fresh
}

// add puts a partition on the list. Whoever made it non-empty wakes a lane, which takes all that is there by then.
func (k *broker) add(p *partition) {
	p.listed = true
	k.list = append(k.list, p)
	if len(k.list) == 1 {
		k.wake()
	}
}

func (k *broker) wake() {
	if last := len(k.idle) - 1; last >= 0 {
		k.idle[last].woken <- struct{}{}
		k.idle = k.idle[:last]
	}
}

// addBroker makes a broker known and starts its lanes. Log.mu is held.
func (l *Log) addBroker(id int32, address string) *broker {
	k := &broker{id: id, address: address}
	for range lanesABroker {
		n := &lane{log: l, broker: k, woken: make(chan struct{}, 1)}
		k.lanes = append(k.lanes, n)
		l.running.Go(n.run)
	}
	l.brokers[id] = k
	return k
}
