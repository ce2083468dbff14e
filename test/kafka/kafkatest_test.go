package kafkatest_test

import (
	"net"
	"strings"
	"testing"
	"time"

	kafkatest "tollgate/test/kafka"
)

func TestClusterServesIsKilledAndComesBack(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{Properties: map[string]string{"num.partitions": "3"}})
	c.CLI("topics", "--bootstrap-server", c.Brokers[0], "--create", "--topic", "t")
	c.Kill9(1)
	if conn, err := net.DialTimeout("tcp", c.Brokers[0], time.Second); err == nil {
		conn.Close()
		t.Fatal("a killed broker still listens")
	}
	c.Start(1)
	c.Pause(1)
	c.Resume(1)
	out := c.CLI("topics", "--bootstrap-server", c.Brokers[0], "--describe", "--topic", "t")
	if !strings.Contains(out, "PartitionCount: 3") {
		t.Fatalf("the topic did not survive with its partitions:\n%s", out)
	}
	c.Stop(1)
}

func TestThreeNodesFormACluster(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{Nodes: 3})
	c.CLI("topics", "--bootstrap-server", c.Brokers[2], "--create", "--topic", "t", "--partitions", "3")
	out := c.CLI("topics", "--bootstrap-server", c.Brokers[1], "--describe", "--topic", "t")
	if !strings.Contains(out, "ReplicationFactor: 3") {
		t.Fatalf("want three replicas:\n%s", out)
	}
}
