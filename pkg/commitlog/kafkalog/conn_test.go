package kafkalog

import (
	"net"
	"testing"
	"time"

	"tollgate/internal/socket"
)

func TestAConnectionThatTheBrokerEndedIsNoticedBeforeItIsWrittenTo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	broker, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{raw: raw, socket: socket.Of(raw)}
	if c.hungUp() {
		t.Error("a connection that is idle is said to have ended")
	}
	broker.Close()
	for end := time.Now().Add(5 * time.Second); !c.hungUp(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the end of a connection goes unnoticed")
		}
	}
}
