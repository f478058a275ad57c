# Sverka. `make help` lists what there is.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOL    := go tool -modfile=go.tool.mod

# A server's program lies in sbin, which is not everybody's PATH.
export PATH := $(PATH):/usr/sbin:/usr/local/sbin

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/sverka
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/sverka ./cmd/sverka

.PHONY: demo
demo: build ## See Sverka work: an emulated portal and PBX on this machine, nothing to set up
	bin/sverka demo

.PHONY: test
test: test-deps ## Run all tests; installs what they need first
	go test -timeout 40m ./...

.PHONY: check
check: fmt-check lint vet race ## What must be clean before a change is merged: format, lint, vet, tests with the race detector

.PHONY: test-deps
test-deps: ## Install what the tests need: MariaDB, MinIO, ffmpeg, sox, lame, node
	scripts/test-deps.sh

.PHONY: lint
lint: ## Run golangci-lint
	$(TOOL) golangci-lint run

.PHONY: fmt
fmt: ## Format the code
	$(TOOL) gofumpt -w .

.PHONY: fmt-check
fmt-check:
	@unformatted=$$($(TOOL) gofumpt -l .) && if [ -n "$$unformatted" ]; then echo "make fmt would change:"; echo "$$unformatted"; exit 1; fi

.PHONY: vet
vet:
	go vet ./...

.PHONY: race
race: test-deps ## Run all tests with the race detector
	go test -race -timeout 60m ./...

.PHONY: bench
bench: ## Run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
