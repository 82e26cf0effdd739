# `make demo` shows the whole loop, `make test` proves it; both install what they need first (Debian 12).
# ARGS are passed on: make demo ARGS='--for 240 --json'
ARGS ?=
BIN := .venv/bin

.PHONY: demo test check bench faults soak install

demo: install
	@$(BIN)/autopilot demo $(ARGS)

test: install check
	AUTOPILOT_REQUIRE_SERVICES=1 $(BIN)/pytest $(ARGS)

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install .cache/bench-venv/installed
	@tests/bench/kafka_streams/build.sh
	@$(BIN)/python -m tests.bench $(ARGS)

faults: install
	AUTOPILOT_REQUIRE_SERVICES=1 $(BIN)/pytest tests/long >&2
	@$(BIN)/python -m tests.faults $(ARGS)

soak: install
	@$(BIN)/python -m tests.soak $(ARGS)

# Daemons from Debian, Kafka's jars, then Python; progress goes to stderr, so that stdout stays the command's own.
install:
	@deploy/local/install.sh >&2
	@$(MAKE) --no-print-directory --silent .venv/installed >&2

# Other people's stream engines have an environment of their own.
.cache/bench-venv/installed: tests/bench/requirements.lock
	@echo 'making the Python environment of the benchmark in .cache' >&2
	@python3 -m venv .cache/bench-venv
	@.cache/bench-venv/bin/pip install --quiet --require-hashes -r $< >&2
	@touch $@

.venv/installed: requirements.lock pyproject.toml hatch_build.py $(wildcard app/native/*.c)
	@echo 'making the Python environment in .venv (half a minute)'
	python3 -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@
