# `make demo` shows the whole loop, `make test` proves it. Both first install what they need (Debian 12).
# ARGS are passed on to the command: make demo ARGS='--for 240 --json'
ARGS ?=
# Tests with daemons mostly wait, so more of them run side by side than there are cores.
SIDE_BY_SIDE ?= 4
BIN := .venv/bin
# Debian's, which every user may run: a Python in root's home cannot serve the demo, which does not run as root.
PYTHON ?= /usr/bin/python3
# Wheels that the locks know by hash; pip never builds what it downloads, and downloads nothing to build ours.
PIP := $(BIN)/pip install --quiet
LOCKED := $(PIP) --require-hashes --only-binary=:all:

.PHONY: help demo test unit check deploy-check cluster scale gitops sso format docs bench fuzz faults leak-test soak crowded canary sbom install uninstall
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18
	@echo "  ARGS are passed on, for example: make demo ARGS='--scenario no-room --json'"

demo: install ## show the whole loop on real daemons, about five minutes
	@$(BIN)/autopilot demo $(ARGS)

test: install .venv/developing check ## everything it claims, tested, on real daemons
	AUTOPILOT_REQUIRE_SERVICES=1 $(BIN)/pytest -n $(SIDE_BY_SIDE) --dist loadgroup $(ARGS)

unit: check ## the tests that need no daemons
	$(BIN)/pytest -n auto --dist loadgroup -m 'not services' $(ARGS)

check: .venv/developing ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/developing ## let the formatter have its way
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/developing ## write the pages that are made from the code
	@$(BIN)/python -m app.contract.docs
	@$(BIN)/python -m app.config.docs
	@$(BIN)/python -m app.cli.docs
	@$(BIN)/python -m app.routers.docs
	@$(BIN)/python -m tests.plan

bench: install .venv/developing .cache/bench-venv/installed ## records a second beside other engines
	@tests/bench/kafka_streams/build.sh
	@$(BIN)/python -m tests.bench $(ARGS)

fuzz: .venv/developing ## mutated records through every reader, ten minutes (ARGS='60 --seed 2')
	@$(BIN)/python -m tests.fuzz $(ARGS)

faults: install .venv/developing ## kill, freeze, fill and cut off workers; count every byte and route
	AUTOPILOT_REQUIRE_SERVICES=1 $(BIN)/pytest tests/long >&2
	@$(BIN)/python -m tests.faults $(ARGS)

leak-test: install .venv/developing ## 10,000 decisions against real edges: does a route of ours leak? 20 minutes
	@$(BIN)/python -m tests.leaks $(ARGS)

deploy-check: install .venv/developing ## the Helm chart: rendered, held against schemas, compared with our own tables
	@$(BIN)/python -m tests.deploy $(ARGS)

cluster: install .venv/developing ## a real Kubernetes of two nodes, and the chart on it; needs root
	@deploy/local/install.sh --cluster >&2
	@$(BIN)/python -m tests.cluster $(ARGS)

scale: install .venv/developing ## 100 PoPs in a real API server: what it takes to install and to change them; needs root
	@$(BIN)/python -m tests.cluster.scale $(ARGS)

gitops: install .venv/developing ## Flux on a real API server: a commit makes a PoP appear; needs root
	@$(BIN)/python -m tests.gitops $(ARGS)

sso: install .venv/developing ## the page behind a real oauth2-proxy and provider: who gets in, and who does not
	@$(BIN)/python -m tests.sso $(ARGS)

soak: install .venv/developing ## half an hour of the demo; memory and open files must stay flat
	@$(BIN)/python -m tests.soak $(ARGS)

crowded: install .venv/developing ## how late are decisions while every HTTP server is attacked? 15 minutes
	@$(BIN)/python -m tests.crowded $(ARGS)

canary: install .venv/developing ## the stream tests with the newest Faust, aiokafka, mode and RocksDB binding
	@AUTOPILOT_REQUIRE_SERVICES=1 $(BIN)/python -m tests.canary

sbom: install .venv/developing ## what it is made of, as CycloneDX JSON in dist
	@$(BIN)/python -m tests.sbom $(ARGS)

# Daemons from Debian, Kafka's jars, then Python. Progress goes to stderr, so stdout has only the command's output.
install: ## what demo and tests need: daemons, Kafka, Python
	@deploy/local/install.sh >&2
	@$(MAKE) --no-print-directory --silent .venv/installed >&2

uninstall: ## remove what make has installed and made (ARGS=--dry-run only lists it)
	@deploy/local/uninstall.sh $(ARGS)

# The stream engines that we compare ourselves with have their own environment.
.cache/bench-venv/installed: tests/bench/requirements.lock
	@echo 'creating the Python environment of the benchmark in .cache' >&2
	@$(PYTHON) -m venv .cache/bench-venv
	@.cache/bench-venv/bin/pip install --quiet --require-hashes --only-binary=:all: -r $< >&2
	@touch $@

.venv/locked: requirements.lock requirements-build.lock
	@echo 'creating the Python environment in .venv (takes half a minute)' >&2
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(LOCKED) -r requirements.lock -r requirements-build.lock
	@touch $@

.venv/installed: .venv/locked pyproject.toml hatch_build.py $(wildcard app/native/*.c)
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q app agents tables # for users who may read here but not write
	@touch $@

.venv/developing: requirements-dev.lock .venv/installed
	@echo 'adding what development and tests need to .venv' >&2
	@$(LOCKED) -r $<
	@touch $@
