# The README's two commands are `make demo` and `make test`; `make help` lists the rest.
# Steps live in .ci/ as plain bash; each says what it is and how long it took.

SHELL := /bin/bash
SEEDS ?= 200000

.PHONY: help build lint test test-all demo bench bench-monorepo fuzz soak soak-real docs-check clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the program (target/debug/tidegate)
	@bash .ci/tools
	@bash .ci/step 'build' cargo build --locked --bin tidegate

lint: ## format, clippy, dependency rules, documentation links
	@bash .ci/tools
	@bash .ci/lint

# One profile (dev) throughout, so that dependencies are compiled once, and the agent under test is target/debug/tidegate.
test: lint ## everything that must hold before a commit goes in: lint, unit tests, tests on a real control plane
	@bash .ci/step 'unit tests' cargo test --locked --quiet --lib --config 'profile.dev.package.tidegate.opt-level=0'
	@bash .ci/step 'test control plane' bash .ci/testplane.sh
	@bash .ci/step 'prometheus' bash .ci/prometheus.sh
	@bash .ci/step 'kustomize and helm' bash .ci/renderers.sh
	@bash .ci/step 'chart registry' bash .ci/registry.sh
	@bash .ci/step 'tests on a real control plane' bash .ci/cluster-tests

test-all: test ## as test, and the slow ones that are marked as ignored
	@bash .ci/step 'slow tests' bash .ci/cluster-tests --ignored
	@TIDEGATE_SEEDS=20000 bash .ci/step '20,000 simulated stories' cargo test --locked --test tests -- what_must_hold_holds_in_seeded --nocapture

demo: ## a real rollout on a real control plane, narrated; FAST=1 tells the story in a minute and ends; without Go, simulated
	@bash .ci/demo $(if $(FAST),--fast)

fuzz: ## what reads bytes from outside, fuzzed: MINUTES=10 for each target, TARGETS='declarations yaml trees webhooks'
	@bash .ci/tools
	@MINUTES='$(MINUTES)' bash .ci/fuzz $(TARGETS)

bench-monorepo: ## one repository with thousands of apps, read through Git and without a cluster: N=5000
	@RUNS='$(RUNS)' bash .ci/bench monorepo $(N)

bench: ## every figure of docs/benchmarks.md, for 100, 500 and 1000 apps; N=1000 for one size, RUNS=5 for medians
	@RUNS='$(RUNS)' bash .ci/bench $(N)

soak: ## SEEDS=200000 simulated stories with faults, then every planted bug (see tests/simulation.rs)
	@TIDEGATE_SEEDS='$(SEEDS)' bash .ci/step 'simulated stories' cargo test --locked --test tests -- simulation:: --nocapture --include-ignored

soak-real: ## rollouts while agent, API server and etcd are killed: MINUTES=30 ROLLOUTS=50 SEED=n
	@MINUTES='$(MINUTES)' ROLLOUTS='$(ROLLOUTS)' SEED='$(SEED)' bash .ci/soak-real

docs-check: ## every relative link and anchor in *.md leads somewhere
	@bash .ci/step 'documentation links' cargo test --locked --quiet --test tests documentation_links::

clean: ## remove what was built here (the cache of tools stays)
	cargo clean
