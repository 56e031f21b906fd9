# make (or make help) lists the targets. Only Go is needed for build and test.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)

FUZZTIME ?= 10s
BENCH    ?= .
SOURCES  := cmd config deployments processor rules state

# Packages with goroutines of their own.
RACE := ./state ./processor ./processor/access ./processor/admin ./processor/audit ./processor/embedded ./processor/kafka ./processor/metrics ./cmd/segmentd

# A digest of every file that is or could be committed.
TREE = git ls-files -co --exclude-standard -z | xargs -0 sha256sum 2>/dev/null || true

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build bin/segmentd, one static binary.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/segmentd ./cmd/segmentd

.PHONY: test
test: ## Run all tests; only Go is needed.
	$(GO) test -timeout 25m ./...

.PHONY: demo
demo: build ## Build, and watch a simulated shop.
	./bin/segmentd demo

.PHONY: race
race: ## Run the packages with goroutines under the race detector (needs a C compiler).
	$(GO) test -race -short -timeout 15m $(RACE)

.PHONY: lint
lint: ## gofmt, vet, staticcheck and the repository's own rules.
	@unformatted="$$(gofmt -l $(SOURCES))"; if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -count=1 -run '^TestRepository' ./cmd/segmentd

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s).
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' $(SOURCES) | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go | cut -d' ' -f2); do \
			echo "== $$dir $$target"; \
			$(GO) test ./$$dir -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x; \
		done; \
	done

.PHONY: crash
crash: ## Kill processes at named points and at random, restart them, compare.
	@dirs="$$(grep -rl --include='*_test.go' '^func TestCrash' $(SOURCES) | xargs -r -n1 dirname | sort -u | sed 's|^|./|')"; \
	if [ -z "$$dirs" ]; then echo "no test is named TestCrash…"; exit 1; fi; \
	$(GO) test -count=1 -v -timeout 20m -run '^TestCrash' $$dirs

# Apache Kafka's jars; the version is in deployments/kafka/pom.xml.
.kafka/jars: deployments/kafka/pom.xml
	rm -rf .kafka && mkdir -p .kafka
	$(if $(shell command -v timeout),timeout 300) mvn -q -B -f deployments/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/.kafka/partial
	mv .kafka/partial $@

.PHONY: test-kafka
test-kafka: ## Run the tests that need a broker on a real Apache Kafka: its jars by Maven, or SEGMENTD_TEST_BROKERS=host:port.
	@if [ -n "$${SEGMENTD_TEST_BROKERS:-}" ]; then $(KAFKA_TESTS); \
	elif ! command -v java >/dev/null || ! command -v mvn >/dev/null; then echo "SKIPPED: make test-kafka needs java (17 or newer) and mvn, or SEGMENTD_TEST_BROKERS"; \
	elif ! $(MAKE) .kafka/jars; then echo "SKIPPED: make test-kafka could not fetch Apache Kafka's jars"; \
	else export SEGMENTD_TEST_KAFKA=$(CURDIR)/.kafka/jars; $(KAFKA_TESTS); fi

KAFKA_TESTS = $(GO) test -count=1 -p 1 -timeout 20m ./processor/kafka ./processor && \
	$(GO) test -count=1 -timeout 20m ./cmd/segmentd -run '^Test(Crash|CDNOW|Secure|Barrier|Erasure)'

.PHONY: check-kafka
check-kafka: ## The part of test-kafka that is checked each time: client, processor, a backlog with kills, the barrier, security (six minutes).
	@$(MAKE) test-kafka KAFKA_TESTS='$(KAFKA_CHECKS)'

KAFKA_CHECKS = $(GO) test -count=1 -p 1 -timeout 12m ./processor/kafka ./processor && $(GO) test -count=1 -timeout 8m ./cmd/segmentd -run "^Test(CDNOW|Barrier|Secure)"

.PHONY: mutants
mutants: ## Plant bugs in the evaluation and in the pipeline one after the other, and see that the tests catch each (minutes).
	$(GO) test ./processor/core ./processor -p 1 -count=1 -v -timeout 120m -run '^TestMutants' -mutants

.PHONY: bench
bench: ## Run the benchmarks (BENCH=regexp picks some).
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: bench-e2e
bench-e2e: ## Measure the whole process on the embedded broker (LOAD="-load-subjects 1000000"), with KAFKA=1 on a real one; minutes.
	$(if $(KAFKA),$(MAKE) .kafka/jars && SEGMENTD_TEST_KAFKA=$(CURDIR)/.kafka/jars) $(GO) test ./cmd/segmentd -count=1 -timeout 150m -run '^TestLoad$$' -v -load $(LOAD)

.PHONY: bench-erasure
bench-erasure: ## Measure 2,000 erasures in a minute of 1,000,000 subjects under half load (LOAD="-load-subjects 100000" for fewer); minutes.
	$(GO) test ./cmd/segmentd -count=1 -timeout 60m -run '^TestErasureLoad$$' -v -erasures 2000 -load-subjects 1000000 $(LOAD)

.PHONY: bench-privacy
bench-privacy: ## Measure what asking for consent costs, against a build that asks nobody, in turn (LOAD="-load-subjects 1000000 -load-rate 15000"); minutes.
	$(GO) test ./cmd/segmentd -count=1 -timeout 150m -run '^TestPrivacyCost$$' -v -load-privacy $(LOAD)

.PHONY: live
live: ## Keep a simulated shop open for LIVE (10m) under kill -9, delays and hung transactions, and compare with a replay.
	$(GO) test ./cmd/segmentd -count=1 -timeout 80m -run '^TestLive$$' -v -live $(or $(LIVE),10m) -live-instances 3 -load-partitions 12

.PHONY: generate
generate: ## Write generated files anew (CONFIG.md, METRICS.md).
	$(GO) generate ./...

.PHONY: check
check: lint check-generated check-modules check-deployments race check-kafka ## All that CI runs beside the tests.

.PHONY: check-generated
check-generated: ## Are generated files up to date?
	@before="$$($(TREE))"; $(GO) generate ./...; after="$$($(TREE))"; \
	if [ "$$before" != "$$after" ]; then \
		echo "generated files were out of date; commit what make generate has written:"; \
		diff <(echo "$$before") <(echo "$$after") | awk '/^[<>]/ {print $$3}' | sort -u; exit 1; \
	fi

.PHONY: check-modules
check-modules: ## Are go.mod and go.sum as they should be?
	$(GO) mod tidy -diff
	$(GO) mod verify

.PHONY: check-deployments
check-deployments: ## Check compose file, alert rules and dashboards.
	./deployments/check.sh

.PHONY: vuln
vuln: ## Look for known vulnerabilities (needs the network).
	$(GO) run golang.org/x/vuln/cmd/govulncheck@latest ./...

.PHONY: clean
clean: ## Remove what was built.
	rm -rf bin
