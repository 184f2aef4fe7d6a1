# "make help" lists the targets. CONTRIBUTING.md says what they need, and .ci/need says what this machine lacks.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@v1.9.0
BENCH       ?= .
ROUNDS      ?= 5
FUZZTIME    ?= 30s
COVERFILE   ?= coverage.out
ARGS        ?=
# The number of packages that are tested at a time: one more than there are CPUs, because tests of real systems wait a lot.
TESTP       ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# The slowest packages first: "go test" starts packages in the order in which they are named, and tests none twice. Those that keep the
# Docker engine busy stand apart from each other.
SLOW         = ./orchestrator/dockerengine ./agent ./internal/hostboot ./internal/test/local . ./internal/test/sim \
               ./internal/test/crash ./agent/internal/warden ./agent/internal/wall ./examples/fleet ./store/pgstore \
               ./store/sqlitestore ./examples/replicas ./pool ./dashboard ./examples/dashboard ./examples/agenthost ./examples/preview ./agent/embedded ./internal/test/docs
# The packages that simulate days of a pool in virtual time. "make race" leaves them out: the race detector makes them take five times as
# long, and its own tables sometimes break in bubbles of synctest that live that long (Go 1.26.8). "make soak" has them.
VIRTUAL      = ./internal/test/sim ./pool
# The packages that "make test-fast" leaves out: they test real systems, build programs, or need root for most of their tests.
REAL         = /(agent|agent/embedded|agent/internal/(wall|warden)|examples/(agenthost|dashboard|fleet|preview|replicas)|internal/hostboot|internal/test/(crash|docs|hostboottest|local|pgtest|workspace)|orchestrator/dockerengine|store/pgstore)$$
# The tests of other packages that it leaves out, because each takes seconds of CPU.
LONG         = ^(TestBrowser|TestSweep|TestSeeds|TestCost|TestCostOfADay|TestLogDoesNotGrowWhileViewsOverlap|$(LONGER))$$
LONGER       = TestFault71StormKeepsToItsBounds|TestBudgetOfAnIdlePool|TestAnswersThatAreNone|TestEmulators|TestValidateBranchAgreesWithGit|FuzzAnswers|TestARemoteThatSaysNothing
# The packages that programs on any system may link, and the systems. The others run in containers or test, on Linux.
LINKED       = . ./dashboard ./fake ./naming ./seal/... ./store/... ./pool/... ./orchestrator/... ./examples/aws ./examples/hosttest ./examples/quickstart
SYSTEMS      = linux/amd64 linux/arm64 darwin/arm64 windows/amd64

.DEFAULT_GOAL := help
.PHONY: help test race test-fast soak vm fuzz bench bench-peers cover cross demo dashboard fleet replicas image agent \
	lint fmt fmt-check vet staticcheck apidiff vulncheck release-check

# The race detector needs cgo. A program with it waits for a second at its end, unless told otherwise. Without cgo, tests use the
# packages of Go's library that are compiled for the agents already.
race soak fuzz: export CGO_ENABLED = 1
race soak fuzz: export GORACE = atexit_sleep_ms=0
test: export CGO_ENABLED = 0

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: lint ## all checks, then all tests that this machine can run
	@.ci/need -skips git engine image postgres pgbouncer prometheus browser root nspawn quotas
	$(GO) test -vet=off -p $(TESTP) -timeout 40m $(SLOW) ./...

race: ## all tests with the race detector, but for those of virtual time; it takes much longer than "make test"
	@.ci/need cgo
	@.ci/need -skips git engine image postgres pgbouncer prometheus browser root nspawn quotas
	$(GO) test -race -vet=off -p $(TESTP) -timeout 1h $(filter-out $(VIRTUAL),$(SLOW)) $$($(GO) list ./... | grep -v -x -F "$$($(GO) list $(VIRTUAL))")

test-fast: ## the tests for the inner loop: without Docker, PostgreSQL, root and the race detector, in less than a minute
	@DOCKER_HOST=unix:///nonexistent $(GO) test -short -vet=off -skip '$(LONG)' -p $(TESTP) -timeout 5m $$($(GO) list ./... | grep -v -E '$(REAL)')

soak: ## the long versions of random and crash tests, then every fuzz test for FUZZTIME
	@.ci/need cgo
	@.ci/need -skips git engine image postgres pgbouncer prometheus browser root nspawn quotas
	BERTH_SOAK=1 $(GO) test -race -vet=off -count=1 -timeout 2h $(SLOW) ./...
	$(MAKE) fuzz

vm: ## the tests of rooms on a virtual machine with cgroups of version 2 and AppArmor; ARGS='-driver cgroupfs'
	@.ci/need root engine image qemu
	$(GO) run ./internal/test/vm $(ARGS)

fuzz: ## every fuzz test for FUZZTIME
	@.ci/need cgo
	@set -e; for pkg in $$($(GO) list ./...); do \
		for fuzz in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$fuzz"; \
			$(GO) test -run '^$$' -fuzz "^$$fuzz\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

bench: ## the benchmarks, one package after another; BENCH=regexp chooses
	@.ci/need -skips git engine image postgres
	$(GO) test -p 1 -run '^$$' -bench '$(BENCH)' -benchmem -timeout 1h ./...

bench-peers: ## berth beside what a user would take instead, ROUNDS times: the tables of docs/performance.md
	@.ci/need git engine image
	$(GO) test -run '^$$' -bench Peers -benchtime $(ROUNDS)x -timeout 3h ./internal/test/peers

cover: ## the coverage of "make test-fast" by package and in total; COVERFILE keeps the profile
	@DOCKER_HOST=unix:///nonexistent $(GO) test -short -vet=off -skip '$(LONG)' -p $(TESTP) -timeout 10m -coverpkg=./... -coverprofile=$(COVERFILE) \
		$$($(GO) list ./... | grep -v -E '$(REAL)') >&2
	@.ci/coverage $(COVERFILE)

cross: ## build the library for other systems
	@set -e; for system in $(SYSTEMS); do \
		echo "$$system"; \
		CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} $(GO) build $(LINKED); \
	done

demo: ## the README's story on this machine's Docker engine; ARGS='-repo URL' for a repository of yours
	$(GO) run ./examples/demo $(ARGS)

dashboard: ## a pool with a small load, its dashboard, metrics and health, until Ctrl-C; ARGS='-fake' needs no Docker
	$(GO) run ./examples/dashboard $(ARGS)

fleet: ## a pool of three EC2 instances, which boot systemd and Docker in containers of this machine; needs root
	@.ci/need root machines
	$(GO) run ./examples/fleet

replicas: ## three processes on one pool, one of which is killed; ARGS='-database postgres://…', or DATABASE_URL
	$(GO) run ./examples/replicas $(ARGS)

image: ## make the workspace image, unless the engine has it
	@.ci/need engine
	$(GO) run ./internal/test/workspace/cmd/workspace $(ARGS)

agent: ## build the embedded agent binaries again
	$(GO) generate ./agent/...

lint: fmt-check vet staticcheck apidiff ## gofmt, go vet, staticcheck (settings: staticcheck.conf) and apidiff

fmt: ## format all Go files
	gofmt -w .

fmt-check:
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "gofmt -w is needed on:"; echo "$$files"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...

apidiff: ## the exported API, compared with that of the last tag
	@.ci/apidiff

vulncheck: ## known vulnerabilities in the code that berth calls; needs the network
	@.ci/need vulndb
	$(GO) run $(GOVULNCHECK) ./...

release-check: ## what a release needs beyond "make test"; VERSION=v0.2.0
	@.ci/release-check $(VERSION)
