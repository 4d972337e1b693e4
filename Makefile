# Every command of the project, from the root of a fresh checkout.
# Needs git, make, Python 3.11 or later with venv, and a Python package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What an environment is made from; a change here brings it up to date.
PINS := setup.cfg pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --editable
# Set to "none", the tests of components that are absent are left out.
COMPONENTS ?= required
# Seconds for each decoder.
FUZZ_SECONDS ?= 60
# How often `make soak` kills the service, on each store.
SOAK_KILLS ?= 200
# An address to which `make run` opens the gateway; loopback when empty.
LAN ?=

.PHONY: run test lint bench fuzz soak conformance venv components clean

run: venv
	@$(BIN)/imps-gateway run-demo --config etc/demo.toml $(if $(LAN),--lan $(LAN))

venv: $(VENV)/.run

test: components $(VENV)/.test
	$(BIN)/python -m pytest --components=$(COMPONENTS) $(PYTEST_ARGS)

lint: $(VENV)/.test $(VENV)/.lint
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/python -m bench

# With SOAK_SEED=… the kills of an earlier run come again, as far as load is alike.
soak: components $(VENV)/.test
	SOAK_KILLS=$(SOAK_KILLS) $(BIN)/python -m pytest tests/live/test_kill.py \
		-k "kills_on" --log-cli-level=INFO

# A finding ends it, with its log; the input is kept in var/.
fuzz: $(VENV)/.fuzz
	@mkdir -p var
	@set -e; for target in tests/fuzz/fuzz_*.py; do \
		log=var/$$(basename $$target .py).log; \
		echo "$$target: $(FUZZ_SECONDS) s"; \
		PYTHONPATH=. $(BIN)/python $$target -max_total_time=$(FUZZ_SECONDS) \
			-artifact_prefix=var/ >$$log 2>&1 || { cat $$log; exit 1; }; \
		grep '^Done' $$log; \
	done

conformance: $(VENV)/.test
	@$(BIN)/python -m tests.conformance

# The system packages of the tests against real components: only where they lack,
# and only where this user may install them.
components: | $(BIN)/python
ifneq ($(COMPONENTS),none)
	@$(BIN)/python -m tests.components install
endif

clean:
	rm -rf $(VENV) build dist *.egg-info

# What lacks on this machine is named with its Debian package.
$(BIN)/python:
	@command -v git >/dev/null \
		|| { echo "git is missing: apt-get install git" >&2; exit 1; }
	@command -v $(PYTHON) >/dev/null \
		|| { echo "$(PYTHON) is missing: apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than 3.11:" \
			"apt-get install python3, or make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) has no venv: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of dependencies: the service alone, then with its extras.
$(VENV)/.run: $(PINS) | $(BIN)/python
	$(INSTALL) .
	@touch $@

$(VENV)/.%: $(PINS) | $(BIN)/python
	$(INSTALL) '.[$*]'
	@touch $(VENV)/.run $@
