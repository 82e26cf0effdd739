# `make demo` shows the whole loop, `make test` proves it; both install what they need first (Debian 12).
# ARGS are passed on: make demo ARGS='--for 240 --json'
ARGS ?=
BIN := .venv/bin

.PHONY: demo test check bench faults install

demo: install
	@$(BIN)/autopilot demo $(ARGS)

test: install check
	AUTOPILOT_REQUIRE_SERVICES=1 $(BIN)/pytest $(ARGS)

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/installed
	@$(BIN)/python -m tests.bench.core $(ARGS)

faults: install
	AUTOPILOT_REQUIRE_SERVICES=1 $(BIN)/pytest tests/long >&2
	@$(BIN)/python -m tests.faults $(ARGS)

# Daemons from Debian, Kafka's jars, then Python; progress goes to stderr, so that stdout stays the command's own.
install:
	@deploy/local/install.sh >&2
	@$(MAKE) --no-print-directory --silent .venv/installed >&2

.venv/installed: requirements.lock pyproject.toml
	@echo 'making the Python environment in .venv (half a minute)'
	python3 -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@
