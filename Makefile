# The one front door. `make help` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

UI := gateway/ui
E2E := gateway/tests/e2e
CARGO ?= cargo
DENY_VERSION := 0.20.2
DENY := .tools/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
OTLP := .tools/otlp-receiver
K8S := k8s/check
KUBERNETES_VERSION := $(shell sed -n 's|^\tk8s.io/kubernetes v||p' $(K8S)/apiserver/go.mod)
CONTROL_PLANE := .tools/control-plane-$(KUBERNETES_VERSION)/control-plane
KUSTOMIZE_VERSION := 5.7.1
export KUSTOMIZE := .tools/kustomize-$(KUSTOMIZE_VERSION)/kustomize
export CARGO_TERM_COLOR ?= auto

# The room on the disk that a first build and all its tests need, and one after it.
ROOM = $(if $(wildcard $(TARGET_DIR)/debug/deps),1GiB,8GiB)

# $(phase) 'name' command…: says what begins, and how long it took or that it failed.
phase = phase() { local name=$$1 start=$$SECONDS; shift; printf '\n==> %s\n' "$$name"; \
  if "$$@"; then printf '<== %s: done in %d s\n' "$$name" $$((SECONDS - start)); \
  else local status=$$?; printf '<== %s: FAILED after %d s\n' "$$name" $$((SECONDS - start)) >&2; return $$status; fi; }; phase

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Arguments for the gateway: make run ARGS="--listen 127.0.0.1:4000"'

## ---- running ----------------------------------------------------------------------------------

# Dev profile: the dependencies are optimised in it, and it builds in a fraction of the time.
.PHONY: run
run: tools ui ## the chat alone, without Redis, at http://127.0.0.1:3000
	@$(phase) 'the gateway (dev profile; a few minutes the first time)' $(CARGO) build --locked --bin roomcast-gateway
	@printf '\n==> starting; open the address below in two windows, Ctrl-C ends it\n'
	@exec $(CARGO) run --quiet --locked --bin roomcast-gateway -- $(ARGS)

.PHONY: cluster
cluster: tools ui ## three gateways, two presence services, Redis and a load balancer, at http://127.0.0.1:8080
	@deploy/need redis-server haproxy
	@$(phase) 'gateway and presence (dev profile)' $(CARGO) build --locked --bins
	@exec node deploy/cluster/run.mjs

.PHONY: prometheus
prometheus: ## Prometheus with our rules, beside a running `make cluster`, at http://127.0.0.1:9090
	@deploy/need prometheus
	@exec prometheus --config.file=deploy/prometheus/prometheus.yml --storage.tsdb.path=target/prometheus \
	  --web.listen-address=127.0.0.1:9090 --log.level=warn

## ---- in containers ----------------------------------------------------------------------------

# make image ENGINE=podman PREFIX=registry.example.org/chat/ TAG=1.2.3 PUSH=1
ENGINE ?= docker
PREFIX ?=
TAG ?= $(VERSION)
image compose: export VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
image compose: export REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
image compose: export CREATED = $(shell git log -1 --format=%cI 2>/dev/null || echo 1970-01-01T00:00:00Z)

.PHONY: engine
engine:
	@$(ENGINE) info >/dev/null 2>&1 || { printf '%s\n' 'No container engine answers to `$(ENGINE) info`.' \
	  'Install and start Docker, or name another: make image ENGINE=podman' \
	  'Without one, `make deploy-check` checks the Dockerfile, compose.yaml and the binaries in an image'"'"'s root.' >&2; exit 1; }

.PHONY: image
image: engine ## the two images, by a container engine; PREFIX=, TAG= and PUSH=1 as you need
	@for name in gateway presence; do \
	  $(phase) "$(PREFIX)roomcast-$$name:$(TAG)" $(ENGINE) build --file deploy/Dockerfile --target "$$name" \
	    --build-arg VERSION="$$VERSION" --build-arg REVISION="$$REVISION" --build-arg CREATED="$$CREATED" \
	    --tag "$(PREFIX)roomcast-$$name:$(TAG)" .; \
	  $(if $(PUSH),$(ENGINE) push "$(PREFIX)roomcast-$$name:$(TAG)";) \
	done

.PHONY: compose
compose: engine ## everything in containers, with Prometheus and Grafana, at http://127.0.0.1:8080
	@test -e deploy/.env || (umask 077; echo "ROOMCAST_PEER_SECRET=$$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >deploy/.env)
	@$(ENGINE) compose --file deploy/compose.yaml up --build

# What the binaries and the web UI are made of, as CycloneDX; `--target sbom` of the Dockerfile gives the same.
CYCLONEDX_VERSION := $(shell sed -n 's/^ARG CYCLONEDX_VERSION=//p' deploy/Dockerfile)
CYCLONEDX := .tools/cargo-cyclonedx-$(CYCLONEDX_VERSION)/bin/cargo-cyclonedx
SBOM = $(TARGET_DIR)/sbom
.PHONY: sbom
sbom: tools $(CYCLONEDX) $(UI)/node_modules/.stamp ## what the binaries are made of, as CycloneDX
	@mkdir -p $(SBOM)
	@$(CYCLONEDX) cyclonedx --format json --spec-version 1.5 --target all --no-build-deps --quiet
	@mv gateway/roomcast-gateway.cdx.json presence/roomcast-presence.cdx.json $(SBOM)/
	@rm -f */*.cdx.json crates/*/*.cdx.json
	@npm --prefix $(UI) sbom --sbom-format cyclonedx --omit dev --loglevel=error >$(SBOM)/roomcast-ui.cdx.json
	@ls -l $(SBOM)

## ---- measuring --------------------------------------------------------------------------------

# make bench ROUNDS=3 SECONDS_EACH=10 WORKLOADS=rooms10,hot PEERS=centrifuge PUBLISH=1
.PHONY: bench
bench: bench-build ## what a delivery costs, against the raw write and other chat servers; up to an hour
	@deploy/need redis-server
	@$(TARGET_DIR)/release/roomcast-bench $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS_EACH),--seconds $(SECONDS_EACH)) \
	  $(if $(WORKLOADS),--workloads $(WORKLOADS)) $(if $(PEERS),--peers $(PEERS)) $(if $(PUBLISH),--publish)

.PHONY: bench-build
bench-build: tools ui
	@$(phase) 'the gateway and the load generator (release profile)' \
	  $(CARGO) build --locked --release -p roomcast-gateway -p roomcast-loadtest --bins

## ---- checking ---------------------------------------------------------------------------------

.PHONY: test
test: tools ## every test, with real processes; installs what it needs
	@$(phase) 'programs that tests start' deploy/need $(ROOM) redis-server chromium haproxy python3 prometheus go ip
	@$(phase) 'the web UI' $(MAKE) ui
	@$(phase) 'unit tests of the web UI' npm --prefix $(UI) test --silent
	@$(phase) 'Rust tests' $(CARGO) test --locked --workspace
	@$(phase) 'the binaries that end-to-end tests start' $(CARGO) build --locked --bins
	@$(phase) 'the Kubernetes manifests' $(MAKE) k8s-test
	@$(phase) 'clients for end-to-end tests' $(MAKE) $(E2E)/node_modules/.stamp $(E2E)/.venv/.stamp $(OTLP)
	@$(phase) 'end-to-end tests' $(MAKE) e2e
	@$(phase) 'images and compose' $(MAKE) deploy-check
	@$(phase) 'dashboards and alerts, with a real Prometheus' $(MAKE) observe

# Parts of `make test`, for repeating one: make e2e, make e2e FILES=order.test.mjs
FILES ?= *.test.mjs
.PHONY: e2e
e2e: $(E2E)/node_modules/.stamp $(E2E)/.venv/.stamp $(OTLP)
	@cd $(E2E) && ROOMCAST_BIN_DIR="$${ROOMCAST_BIN_DIR:-$(TARGET_DIR)/debug}" \
	  node --test --test-concurrency=2 --test-reporter=spec $(FILES)
# Not among the others: its clock is sixty times faster, and it wants the machine for itself.
.PHONY: observe
observe: $(E2E)/node_modules/.stamp
	@deploy/need redis-server haproxy prometheus
	@ROOMCAST_BIN_DIR="$${ROOMCAST_BIN_DIR:-$(TARGET_DIR)/debug}" \
	  node --test --test-concurrency=1 --test-reporter=spec deploy/prometheus/tests/*.test.mjs
TARGET_DIR = $(shell $(CARGO) metadata --no-deps --offline --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

# What of deploy/ can be checked without a container engine. crt-static is given to the last step alone, so
# that all crates are those of other builds; the binaries are linked as in the image, but not optimised.
STATIC = $(TARGET_DIR)/static
.PHONY: deploy-check
deploy-check: tools ui $(E2E)/node_modules/.stamp ## Dockerfile, compose.yaml, and the binaries in an image's root
	@deploy/need go ip redis-server haproxy
	@mkdir -p $(STATIC)
	@$(phase) 'Dockerfile and compose.yaml, by the parsers of BuildKit and Compose' $(MAKE) $(STATIC)/check
	@for name in gateway presence; do \
	  $(phase) "roomcast-$$name, linked as in its image" $(CARGO) rustc --quiet --locked -p "roomcast-$$name" --bin "roomcast-$$name" -- \
	    -C target-feature=+crt-static; \
	  cp "$(TARGET_DIR)/debug/roomcast-$$name" $(STATIC)/; \
	done
	@$(phase) 'the images, without an engine' env CHECK=$(STATIC)/check STATIC=$(STATIC) \
	  deploy/check/enter.sh node --test --test-reporter=spec deploy/check/image.test.mjs

.PHONY: $(STATIC)/check
# -count=1: the files that the tests read are not Go's, so it would take an old result for a new one.
$(STATIC)/check:
	@cd deploy/check && go vet . && go test -count=1 . && go build -o $@ .

.PHONY: lint
lint: tools $(DENY) ## formatting, clippy, dependency rules, types, generated files
	@deploy/need $(ROOM)
	@$(phase) 'rustfmt' $(CARGO) fmt --all --check
	@$(phase) 'the web UI' $(MAKE) ui
	@$(phase) 'types of the web UI' npm --prefix $(UI) run check --silent
	@$(phase) 'clippy' $(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	@$(phase) 'cargo-deny' $(DENY) --locked check bans licenses sources
	@$(phase) 'the protocol crate does no I/O' $(MAKE) layering
	@$(phase) 'syntax of scripts' $(MAKE) scripts
	@$(phase) 'generated files are up to date' $(MAKE) generated

# cargo-deny says who may depend on a crate, but not what a crate must never reach.
.PHONY: layering
layering:
	@reached=$$($(CARGO) tree --locked -p roomcast-protocol -e normal --all-features --prefix none \
	    | grep -E '^(tokio|mio|async-(std|io|net)|hyper|socket2|redis|fred) ' || true); \
	  test -z "$$reached" || { printf 'roomcast-protocol must reach no runtime and no I/O, but reaches:\n%s\n' "$$reached" >&2; exit 1; }

.PHONY: scripts
scripts:
	@for file in $(E2E)/*.mjs deploy/*/*.mjs deploy/*/tests/*.mjs; do node --check "$$file"; done
	@for file in deploy/need deploy/check/*.sh .ci/run k8s/components/prometheus-rules/generate; do bash -n "$$file"; done
	@for file in k8s/components/*/*.sh; do sh -n "$$file"; done
	@python3 -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]' $(E2E)/*.py

# Whether generating changes any file of the tree, committed or not.
.PHONY: generated
generated: TREE = git ls-files -z --cached --others --exclude-standard | sort -z | xargs -0 sha256sum 2>/dev/null || true
generated:
	@before=$$($(TREE)); $(MAKE) generate; \
	  changed=$$({ diff <(echo "$$before") <($(TREE)) || true; } | sed -n 's/^[<>] [0-9a-f]*  //p' | sort -u); \
	  test -z "$$changed" || { printf 'These files were out of date. They are generated anew now: look at them and commit them.\n%s\n' "$$changed" >&2; exit 1; }

.PHONY: k8s-check
k8s-check: tools ui ## the Kubernetes manifests: as in `make test`, and applied to a real API server
	@deploy/need redis-server python3 etcd openssl
	@$(phase) 'gateway and presence (dev profile)' $(CARGO) build --locked --bins
	@$(phase) 'schemas, rules and seeded mistakes' $(MAKE) k8s-test
	@$(phase) 'the control plane of Kubernetes $(KUBERNETES_VERSION) (minutes the first time)' $(MAKE) $(CONTROL_PLANE)
	@$(phase) 'a real API server' $(MAKE) k8s-apply

# Parts of `make k8s-check`, for repeating one; k8s/check/README.md says what each looks at.
K8S_PYTHON = ROOMCAST_BIN_DIR="$${ROOMCAST_BIN_DIR:-$(TARGET_DIR)/debug}" PYTHONPATH=$(K8S)/.venv/site \
  $$(test -x $(K8S)/.venv/bin/python && echo $(K8S)/.venv/bin/python || echo python3)
.PHONY: k8s-test k8s-apply
k8s-test: $(K8S)/.venv/.stamp
	@[[ "$$(kubectl version --client 2>/dev/null)" =~ v1\.(2[7-9]|[3-9][0-9])\. ]] || $(MAKE) $(KUSTOMIZE)
	@$(K8S_PYTHON) $(K8S)/main.py offline
	@$(K8S_PYTHON) -m unittest discover --start-directory $(K8S)/tests
k8s-apply: $(K8S)/.venv/.stamp $(CONTROL_PLANE)
	@CONTROL_PLANE=$(CONTROL_PLANE) $(K8S_PYTHON) -m unittest $(K8S)/tests/on_cluster.py
	@$(K8S_PYTHON) $(K8S)/main.py cluster --control-plane $(CONTROL_PLANE)

## ---- building ---------------------------------------------------------------------------------

# Everything that is written by a program and committed. One line per generator.
GENERATORS := generate-protocol generate-directory generate-configuration generate-metrics generate-observability
# Behind what it wraps.
GENERATORS += generate-prometheus-rules
.PHONY: generate $(GENERATORS)
generate: $(GENERATORS) ## rewrite the files that are derived from the Rust types
generate-protocol: # docs/ (AsyncAPI) and TypeScript types, from the wire's types
	@$(CARGO) run --quiet --locked -p roomcast-protocol --features generate --bin roomcast-protocol-generate
generate-directory: # docs/openapi-presence.json, from the handlers of the presence service
	@$(CARGO) run --quiet --locked -p roomcast-presence --bin roomcast-presence-openapi
generate-configuration: # the tables of docs/CONFIGURATION.md, from the flags of both binaries
	@{ sed '/<!-- generated/q' docs/CONFIGURATION.md; echo; \
	   $(CARGO) run --quiet --locked -p roomcast-gateway --example reference; echo; \
	   $(CARGO) run --quiet --locked -p roomcast-presence --example reference; } > docs/CONFIGURATION.md.new
	@mv docs/CONFIGURATION.md.new docs/CONFIGURATION.md
generate-metrics: # the tables of docs/METRICS.md, from the registries of both binaries
	@{ sed '/<!-- generated/q' docs/METRICS.md; echo; \
	   $(CARGO) run --quiet --locked -p roomcast-gateway --example metrics; echo; \
	   $(CARGO) run --quiet --locked -p roomcast-presence --example metrics; } > docs/METRICS.md.new
	@mv docs/METRICS.md.new docs/METRICS.md
generate-observability: # rules of Prometheus and dashboards of Grafana, from their descriptions
	@node deploy/prometheus/rules.mjs
	@node deploy/grafana/dashboards.mjs

generate-prometheus-rules: # the rules of deploy/prometheus as Kubernetes' PrometheusRules
	@k8s/components/prometheus-rules/generate

.PHONY: ui
ui: tools $(UI)/dist/app.js ## the web UI that gateways embed

# The build empties dist/ and writes app.js last; a failed one leaves no app.js.
$(UI)/dist/app.js: $(UI)/node_modules/.stamp $(shell find $(UI)/src $(UI)/scripts $(UI)/index.html $(UI)/package.json -type f 2>/dev/null)
	@echo '==> bundling the web UI'
	@cd $(UI) && npm run build --silent

# Packages are fetched again only where the lock file changed.
%/node_modules/.stamp: %/package-lock.json
	@echo '==> npm packages of $*'
	@cd $* && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# A virtual environment, or a folder of packages where this Python cannot make one.
%/.venv/.stamp: %/requirements.txt
	@echo '==> Python packages of $*'
	@rm -rf $(@D)
	@if python3 -m venv $(@D) 2>/dev/null && $(@D)/bin/python -m pip --version >/dev/null 2>&1; then \
	    $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<; \
	  else \
	    rm -rf $(@D); \
	    python3 -m pip install --quiet --disable-pip-version-check --target $(@D)/site --requirement $< \
	      || { echo 'This Python has neither venv nor pip: apt-get install python3-venv' >&2; exit 1; }; \
	  fi
	@touch $@

$(CYCLONEDX):
	@$(phase) 'installing cargo-cyclonedx $(CYCLONEDX_VERSION)' $(CARGO) install cargo-cyclonedx --version $(CYCLONEDX_VERSION) \
	  --locked --debug --quiet --root .tools/cargo-cyclonedx-$(CYCLONEDX_VERSION) --target-dir .tools/build
	@rm -rf .tools/build

# A real receiver of traces: that of the OpenTelemetry Collector, from the Go module proxy. A minute, once.
$(OTLP): $(wildcard $(E2E)/otlp-receiver/*)
	@command -v go >/dev/null || { echo 'Missing: go 1.26 or newer, which builds the receiver of traces: https://go.dev/dl' >&2; exit 1; }
	@$(phase) 'the OTLP receiver of the OpenTelemetry Collector' \
	  go -C $(E2E)/otlp-receiver build -buildvcs=false -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ .

# Built once, unoptimised; its build directory is larger than everything else here.
$(DENY):
	@$(phase) 'installing cargo-deny $(DENY_VERSION)' $(CARGO) install cargo-deny --version $(DENY_VERSION) \
	  --locked --debug --quiet --root .tools/cargo-deny-$(DENY_VERSION) --target-dir .tools/build
	@rm -rf .tools/build

# Unlike kubectl, in no Debian; wanted only where kubectl is missing or too old to render.
$(KUSTOMIZE):
	@deploy/need go
	@$(phase) 'installing kustomize $(KUSTOMIZE_VERSION)' env GOBIN=$(abspath $(@D)) \
	  go install sigs.k8s.io/kustomize/kustomize/v5@v$(KUSTOMIZE_VERSION)

$(CONTROL_PLANE): $(wildcard $(K8S)/apiserver/*)
	@deploy/need go
	@cd $(K8S)/apiserver && go build -trimpath -o $(abspath $@) \
	  -ldflags '-s -w -X k8s.io/component-base/version.gitVersion=v$(KUBERNETES_VERSION)' .

.PHONY: pictures
pictures: tools $(E2E)/node_modules/.stamp ## take the docs' pictures from running clusters: the UI, the dashboards
	@deploy/need redis-server chromium haproxy python3 prometheus
	@$(CARGO) build --locked --bins
	@ROOMCAST_SCREENSHOTS=1 $(MAKE) e2e FILES=ui.test.mjs
	@ROOMCAST_SCREENSHOTS=1 $(MAKE) observe

.PHONY: fmt
fmt: ## format the Rust code
	@$(CARGO) fmt --all

.PHONY: clean
clean: ## remove what was built or fetched into the tree, but for .tools
	@$(CARGO) clean
	@rm -rf $(UI)/dist $(UI)/node_modules $(E2E)/node_modules $(E2E)/.venv $(K8S)/.venv

.PHONY: tools
tools:
	@lacking() { printf '%s\n' "$$@" '' >&2; failed=1; }; failed=; \
	  command -v $(CARGO) >/dev/null || lacking 'Missing: cargo, the build tool of Rust. Install Rust as https://rustup.rs says.'; \
	  command -v npm >/dev/null || lacking 'Missing: npm. It comes with Node.js (https://nodejs.org); on Debian: apt-get install npm'; \
	  command -v node >/dev/null || lacking 'Missing: node. Install Node.js 20.12 or newer: https://nodejs.org'; \
	  command -v cc >/dev/null || lacking 'Missing: cc, which Rust links with. On Debian: apt-get install build-essential'; \
	  if command -v node >/dev/null; then \
	    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 12) ? 0 : 1)' \
	      || lacking "Node.js $$(node --version) is too old: 20.12 or newer is needed, see https://nodejs.org"; fi; \
	  test -z "$$failed"
