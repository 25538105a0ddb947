# `make help` lists what there is. Each target calls a script of tools/, which says at its top what it
# does, what it installs and why. What stands on make's command line (ROUNDS=3) reaches the script as environment.
SHELL := bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
export CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^## / { sub(/^## /, ""); print "\n" $$0 } \
	  /^[a-z][a-z0-9-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Arguments for the gateway: make run ARGS="--listen 127.0.0.1:4000"'

## Running
.PHONY: run cluster prometheus
run: ## the chat alone, without Redis, at http://127.0.0.1:3000
	@exec tools/run $(ARGS)
cluster: ## three gateways, two presence services, Redis and a load balancer, at http://127.0.0.1:8080
	@exec tools/cluster
prometheus: ## Prometheus with our rules, beside a running `make cluster`, at http://127.0.0.1:9090
	@exec tools/prometheus

## Testing
.PHONY: test test-fast e2e observe clients proxies load swarm bench bench-build
test: ## every test, with real processes; installs what it needs; says what each part took
	@tools/test
test-fast: ## unit tests of UI and crates, and the integration tests that need no Redis; needs cargo and npm alone
	@tools/test-fast
e2e: ## the end-to-end tests again, or some of them: make e2e FILES=order.test.mjs
	@tools/e2e
observe: ## dashboards and alerts again, with a real Prometheus over a real cluster
	@tools/observe
clients: ## the client table, docs/CLIENTS.md: every client of five languages against a real cluster; part of it: ONLY=Java
	@tools/clients
proxies: ## the proxy table: six reverse proxies in front of a real cluster; part of it: ONLY=nginx
	@tools/proxies
swarm: ## load that k6 is too heavy for: SCENARIO=idle-50k GATEWAYS=4 CONNECTIONS=50000 RATE=500 DURATION=60s URL=127.0.0.1:3000
	@tools/swarm
load: ## a load test, by k6 where it is installed, against URL or a cluster of its own: SCENARIO=chat VUS=10 DURATION=2m
	@tools/load
bench: ## what a delivery costs, up to an hour: ROUNDS=3 SECONDS_EACH=10 WORKLOADS=rooms10,hot PEERS=centrifuge PUBLISH=1
	@tools/bench
bench-build: # only the programs of the benchmark
	@tools/bench build

## Checking
.PHONY: lint fmt layering scripts generated
lint: ## formatting, clippy, dependency rules, import circles, types, scripts, generated files
	@tools/lint
fmt: ## format the Rust code
	@$(CARGO) fmt --all
layering: # part of lint: the protocol crate reaches no I/O
	@tools/layering
scripts: # part of lint: every script parses
	@tools/check-scripts
generated: # part of lint: generating changes nothing
	@tools/check-generated

## Images and Kubernetes
.PHONY: image compose engine sbom deploy-check k8s-check k8s-test k8s-apply
image: ## the two images, by a container engine: ENGINE=podman PREFIX=registry.example.org/chat/ TAG=1.2.3 PUSH=1
	@tools/containers image
compose: ## everything in containers, with Prometheus and Grafana, at http://127.0.0.1:8080
	@tools/containers compose
engine: # whether a container engine answers
	@tools/containers engine
sbom: ## what the binaries are made of, as CycloneDX
	@tools/sbom
deploy-check: ## Dockerfile, compose.yaml, and the binaries in an image's root, without a container engine
	@tools/deploy-check
k8s-check: ## the Kubernetes manifests: as in `make test`, and applied to a real API server
	@tools/k8s check
k8s-test: # part of k8s-check: schemas, rules and seeded mistakes
	@tools/k8s test
k8s-apply: # part of k8s-check: a real API server
	@tools/k8s apply

## Building
.PHONY: ui generate pictures clean tools
ui: ## the web UI that gateways embed
	@tools/ui
generate: ## rewrite the committed files that programs write; one part: make generate-configuration
	@tools/generate
generate-%: # protocol, directory, configuration, metrics, observability, prometheus-rules, loadtest
	@tools/generate $*
pictures: ## take the docs' pictures from running clusters: the UI, the dashboards
	@tools/pictures
clean: ## remove what was built or fetched into the tree, but for .tools
	@tools/clean
tools: # whether cargo, a linker, Node.js and npm are there
	@tools/toolchain
