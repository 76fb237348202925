# Two commands do everything on a fresh machine: `make run` and `make test`. `make help` lists the rest.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO          ?= go
# Everything but the race detector is compiled in one way, without C: another way would compile all packages once more.
export CGO_ENABLED := 0
RACE        := CGO_ENABLED=1 $(GO) test -race -timeout 10m
GOFLAGS_BUILD := -ldflags "-s -w -buildid= -X main.version=$(VERSION)"
CONFIG      ?= configs/linehall.yaml
DATA        ?= ./data
BIN         := bin/linehall bin/linesim
GOLANGCI    := bin/tools/golangci-lint
GOLANGCI_VERSION := v2.15.0
FUZZTIME    ?= 30s

.PHONY: help run demo build test unit e2e web-test check lint fresh soak bench fuzz gen web package tools clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/linehall and bin/linesim (static, no Node or C compiler needed)
	@mkdir -p bin
	$(GO) build $(GOFLAGS_BUILD) -o bin/ ./cmd/linehall ./cmd/linesim

run: build ## build and start the appliance on the demo config (Ctrl-C ends it)
	@exec bin/linehall serve --config $(CONFIG) --data $(DATA)

demo: build ## run plus 120 simulated phones with calls and five native rooms
	@exec deploy/demo.sh $(CONFIG) $(DATA)

# One after the other, also under -j: tests measure time. A prerequisite of several runs once.
.NOTPARALLEL:
test: tools build unit web-test e2e ## everything that must pass: unit tests with the race detector, end-to-end tests with real clients

unit: ## Go tests of every package, with the race detector
	$(GO) vet ./...
	$(RACE) $$($(GO) list ./... | grep -vE '^linehall/(test|sip/call|sip/subscribe)$$')
	$(RACE) -p 1 -parallel 6 ./sip/call ./sip/subscribe # they wait most of the time, for retransmissions in real time: nothing else beside them

e2e: build web/node_modules/.package-lock.json ## end-to-end tests: the real binary with SIPp, baresip, Chromium, Firefox
	$(GO) test -count=1 -timeout 12m -parallel 3 ./test/... # those that mostly wait run beside each other

web-test: web/node_modules/.package-lock.json ## type check, lint and unit tests of the pages
	npm --prefix web run --silent typecheck & types=$$!; lint=0; npm --prefix web run --silent lint || lint=$$?; wait $$types && exit $$lint # a core each
	npm --prefix web run --silent test

check: tools lint fresh test ## what CI runs: lint, generated files fresh, test

lint: $(GOLANGCI) ## gofmt and golangci-lint with no finding
	@test -z "$$(gofmt -l cmd configs internal media provisioning sfu sip test web 2>/dev/null)" || { gofmt -l cmd configs internal media provisioning sfu sip test web; echo 'run gofmt on the files above'; exit 1; }
	$(GOLANGCI) run ./...

fresh: web/node_modules/.package-lock.json ## generated files are the ones their sources give
	$(GO) test -count=1 -run 'Fresh|OpenAPI' ./configs ./web/api ./media/kernel
	npm --prefix web run --silent api:check
	$(GO) run ./web/build -check

gen: web/node_modules/.package-lock.json ## regenerate the config schema, the kernel program, the OpenAPI document, the pages' API types and the web bundle
	$(GO) generate ./configs
	if command -v clang-19 >/dev/null; then $(GO) generate ./media/kernel; else echo 'media/kernel: clang-19 and libbpf-dev are not here, its object stays as it is'; fi
	$(GO) test -count=1 ./web/api -update
	npm --prefix web run --silent api
	$(GO) run ./web/build

web: gen ## alias of gen, for the pages

soak: tools build web/node_modules/.package-lock.json ## the long ones: storms, churn, restarts under load
	LINEHALL_SOAK=1 $(GO) test -count=1 -timeout 180m -run 'Soak|UnderLoad' ./test/...
	LINEHALL_SOAK=1 $(GO) test -count=1 -timeout 30m -run 'SIPpLoad' ./sip/call
	LINEHALL_SOAK=1 $(GO) test -count=1 -timeout 30m -run 'NothingIsLeft' ./sfu/room
	LINEHALL_SOAK=1 $(GO) test -count=1 -timeout 30m -run '^TestLoad$$' ./sip/subscribe
	npm --prefix web run --silent flows

bench: tools build ## tables of CPU and delay beside the best peers; JSON under docs/performance
	@test/install.sh bench
	bin/linesim bench all --linehall bin/linehall --out docs/performance/first-light.json

fuzz: ## each fuzz target for FUZZTIME (30s)
	@for pkg in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz' || true); do \
	  echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; done; done

package: GOFLAGS_BUILD += -trimpath
package: build ## dist/linehall_VERSION_ARCH.deb, the same bytes for the same commit
	deploy/deb/build.sh "$(VERSION)"

tools: ## install what the tests use (Debian packages, as root)
	@test/install.sh test

$(GOLANGCI):
	@mkdir -p bin/tools
	GOBIN=$(abspath bin/tools) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	npm --prefix web ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

clean: ## remove what was built (not the data directory)
	rm -rf bin dist web/node_modules
