# "make help" lists the targets. CONTRIBUTING.md says what they need.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
BENCH       ?= .
FUZZTIME    ?= 30s
ARGS        ?=
# Packages that are tested at the same time: one more than there are CPUs, since tests of real systems wait a lot.
TESTP       ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.DEFAULT_GOAL := help
.PHONY: help test soak fuzz bench demo fleet replicas image agent lint fmt fmt-check vet staticcheck

# The race detector needs cgo.
test soak fuzz: export CGO_ENABLED = 1

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: lint ## all checks, then all tests that this machine can run, with the race detector
	$(GO) test -race -vet=off -p $(TESTP) -timeout 9m ./...

soak: ## the long versions of random and crash tests, then every fuzz test for FUZZTIME
	BERTH_SOAK=1 $(GO) test -race -vet=off -count=1 -timeout 2h ./...
	$(MAKE) fuzz

fuzz: ## every fuzz test for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
		for fuzz in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$fuzz"; \
			$(GO) test -run '^$$' -fuzz "^$$fuzz\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

bench: ## the benchmarks, one package after another; BENCH=regexp chooses
	$(GO) test -p 1 -run '^$$' -bench '$(BENCH)' -benchmem -timeout 1h ./...

demo: ## the README's story on this machine's Docker engine; ARGS='-repo URL' for a repository of yours
	$(GO) run ./examples/demo $(ARGS)

fleet: ## a pool of three EC2 instances, which are namespaces of this machine with a Docker engine each; needs root
	$(GO) run ./examples/fleet

replicas: ## three processes on one pool, one of which is killed; ARGS='-database postgres://…', or DATABASE_URL
	$(GO) run ./examples/replicas $(ARGS)

image: ## make the workspace image, unless the engine has it
	$(GO) run ./internal/workspace/cmd/workspace $(ARGS)

agent: ## build the embedded agent binaries again
	$(GO) generate ./agent/...

lint: fmt-check vet staticcheck ## gofmt, go vet and staticcheck

fmt: ## format all Go files
	gofmt -w .

fmt-check:
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "gofmt -w is needed on:"; echo "$$files"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...
