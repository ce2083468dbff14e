# Every target works from a fresh clone with Go alone; `make test` wants Java and Maven for a real Kafka and says loudly
# what it skipped without them. REQUIRE_KAFKA=1 turns such a skip into a failure.

GO      ?= go
TOOL     = $(GO) tool -modfile=tools/go.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X main.version=$(VERSION)

# A package's tests may take this long, on two cores beside a Kafka broker.
TEST_TIMEOUT ?= 16m
# Packages tested at once. Two real brokers and a loaded gateway each on two cores starve one another.
TEST_PARALLEL ?= 2

CRASH_SEEDS    ?= 10000
FUZZ_TIME      ?= 30s
DEDUP_SCALE    ?= 100000000
DEDUP_DIR      ?= bin/dedup-scale
USAGE_SEEDS    ?= 10000
E2E_ROUNDS     ?= 20
FORWARD_ROUNDS ?= 50
EVENTS         ?= 100000
E2E_TIMEOUT    ?= 60m

.PHONY: all build run test test-peers test-race check lint tidy fuzz crash-seeds usage-seeds dedup-scale bench bench-compare tables soak e2e-kill e2e-usage e2e-forward e2e-spill image clean

all: check build test

build: ## bin/gateway: static, without paths of this machine
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/gateway ./cmd/gateway

run: build ## the gateway on its embedded journal, with a test key of its own; it prints a curl to try
	./bin/gateway serve

test: ## everything, real Kafka and real SDKs included, and the peers that are written in Go
	$(GO) test -timeout $(TEST_TIMEOUT) -p $(TEST_PARALLEL) ./...
	cd bench/peers && $(GO) test -timeout $(TEST_TIMEOUT) ./...

test-peers: ## the peers in other languages: needs cargo and Maven
	cd bench/peers/rust && cargo test --locked
	mvn -B -q -ntp -f bench/peers/java/pom.xml test

test-race: ## the libraries and the program under the race detector
	$(GO) test -race -timeout $(TEST_TIMEOUT) -p $(TEST_PARALLEL) ./pkg/... ./internal/... ./cmd/...

check: ## formatting, vet, staticcheck, house rules, go.mod
	@out=$$($(TOOL) gofumpt -l .); if [ -n "$$out" ]; then echo "gofumpt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) test ./internal/lint/...
	$(GO) mod tidy -diff
	cd bench/peers && $(GO) vet ./... && $(GO) mod tidy -diff

fuzz: ## each fuzz target for FUZZ_TIME
	@for pkg in $$($(GO) list ./pkg/... ./internal/...); do \
		dir=$$($(GO) list -f '{{.Dir}}' $$pkg); \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go 2>/dev/null | sed 's/^func //'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZ_TIME) $$pkg || exit 1; \
		done; \
	done

crash-seeds: ## the journal's crash simulation over CRASH_SEEDS seeds
	TOLLGATE_SEEDS=$(CRASH_SEEDS) $(GO) test -count=1 -timeout 60m -run Crash ./pkg/commitlog/journal/...

dedup-scale: ## the duplicate index at DEDUP_SCALE identifiers, in DEDUP_DIR: 60 bytes of disk each while it runs
	DEDUP_SCALE='$(DEDUP_SCALE)' DEDUP_DIR=$(DEDUP_DIR) $(GO) test -count=1 -timeout 3h -v -run ScaleOfTheIndex ./pkg/dedup

usage-seeds: ## the worker's random histories, crashes included, against their model, over USAGE_SEEDS seeds
	TOLLGATE_SEEDS=$(USAGE_SEEDS) $(GO) test -count=1 -timeout 60m -run RandomHistories ./pkg/usage/

bench: ## benchmarks beside the code; compare runs with: go tool -modfile=tools/go.mod benchstat
	$(GO) test -run '^$$' -bench . -benchmem ./pkg/...

bench-compare: ## the gateway beside the programs of bench/peers, in turns, on a real broker; COMPARE holds more flags
	@mkdir -p bin
	$(GO) run ./bench compare --out bin/compare.json $(COMPARE)

tables: ## the tables of README.md and docs/PERFORMANCE.md, from the results in docs/results
	$(GO) run ./bench tables

e2e-kill: ## kill -9 of gateway and broker under load, E2E_ROUNDS rounds each
	E2E_ROUNDS=$(E2E_ROUNDS) REQUIRE_KAFKA=1 $(GO) test -count=1 -timeout $(E2E_TIMEOUT) -v -run 'Kill|Broker|Leader' ./test/e2e/

e2e-usage: ## totals of two gateways on one Kafka, killed in turn while EVENTS events are sent, against a model
	E2E_EVENTS=$(EVENTS) REQUIRE_KAFKA=1 $(GO) test -count=1 -timeout $(E2E_TIMEOUT) -v -run 'TotalsOfTwoGateways|WithoutTheOwner' ./test/e2e/

e2e-forward: ## what is forwarded through kills of either side, FORWARD_ROUNDS rounds each way, against a model
	E2E_ROUNDS=$(FORWARD_ROUNDS) REQUIRE_KAFKA=1 $(GO) test -count=1 -timeout $(E2E_TIMEOUT) -v -run 'TestWhatIsForwarded|TestWhatAGatewayForwards|TestWhatTwoGateways' ./test/e2e/

e2e-spill: ## Kafka killed for a minute under 100,000 events/s: nothing refused, all of it in Kafka afterwards, once and in order
	E2E_SPILL_SECONDS=60 E2E_SPILL_RATE=100000 E2E_ROUNDS=$(E2E_ROUNDS) REQUIRE_KAFKA=1 $(GO) test -count=1 -timeout $(E2E_TIMEOUT) -v -run 'Spill' ./test/e2e/

soak: ## e2e-kill with ten times the rounds
	$(MAKE) e2e-kill E2E_ROUNDS=200 E2E_TIMEOUT=8h

image: ## the container image tollgate/gateway
	docker build --build-arg VERSION=$(VERSION) -t tollgate/gateway:$(VERSION) .

clean:
	rm -rf bin
