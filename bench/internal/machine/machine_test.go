package machine

import (
	"os"
	"testing"
	"time"
)

func TestTheCostOfAProcessGrowsWithItsWork(t *testing.T) {
	before, err := Usage(os.Getpid())
	if err != nil {
		t.Skip("SKIPPED: no /proc here: ", err)
	}
	for end := time.Now().Add(60 * time.Millisecond); time.Now().Before(end); {
	}
	after, err := Usage(os.Getpid())
	if err != nil || after.CPU <= before.CPU || after.Resident < 1<<20 || after.ResidentMax < after.Resident/2 {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
	if _, err := Usage(1 << 30); err == nil {
		t.Error("a process that does not exist has a cost")
	}
}

func TestAMachineHasANameAndCores(t *testing.T) {
	if i := Describe(); i.Cores < 1 || i.Go == "" {
		t.Errorf("%+v", i)
	}
}
