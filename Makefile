# make demo    discovers, stores and compares circuits of handwritten digits, and writes a report
# make test    runs all tests
# make quick   runs the fast tests, in less than two minutes
# make check   checks style, spelling, types and imports between rooms
# make format  formats the code
# make docs    generates parts of the documentation from the program
# make readme  also updates the answers of queries; GRAPH=bolt://… compares them with those of another graph
# make examples  runs the specs in examples/ and writes a report of each
# make site    builds the documentation site
#
# All targets set up .venv the first time, and need Python 3.11 or newer (PYTHON=… selects one).

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
RUN := $(VENV)/bin/python
# A virtual environment depends on its path, so a clone that was moved is set up again.
HERE := $(shell printf '%s' '$(CURDIR)' | cksum | cut -d ' ' -f 1)
USABLE := $(VENV)/.usable-$(HERE)
TESTABLE := $(VENV)/.testable-$(HERE)
WRITABLE := $(VENV)/.writable-$(HERE)

.PHONY: demo test quick check format docs readme examples site setup clean
.DELETE_ON_ERROR:

demo: $(USABLE)
	$(RUN) -m circuitstore.cli demo

# Otherwise each process that tests start compiles the package again.
test quick: export PYTHONDONTWRITEBYTECODE :=

test: $(TESTABLE)
	$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

quick: $(TESTABLE)
	$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile -m 'not slow'

check: $(TESTABLE)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/codespell
	$(RUN) -m pyright
	$(VENV)/bin/lint-imports
	$(RUN) -m pytest -q tests/test_packaging.py tests/test_public_api.py

format: $(TESTABLE)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: $(TESTABLE)
	$(RUN) docs/generate.py
	$(RUN) docs/draw_schema.py

readme: demo $(TESTABLE)
	$(RUN) docs/generate.py --queries $(if $(GRAPH),--graph $(GRAPH))

examples: $(USABLE)
	set -e; for spec in examples/*.toml; do \
		name=$$(basename $$spec .toml); \
		command=index; \
		if grep -q '^\[defence\]' $$spec; then command=defend; fi; \
		if grep -q '^\[correction\]' $$spec; then command=correct; fi; \
		$(RUN) -m circuitstore.cli $$command $$spec --store build/examples/$$name; \
		$(RUN) -m circuitstore.cli report --store build/examples/$$name --out build/examples/$$name.html; \
	done

site: $(WRITABLE)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

setup: $(TESTABLE)

$(USABLE): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN) -m pip install --editable . --constraint constraints.txt
	touch $@

$(TESTABLE): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN) -m pip install --editable '.[dev]' --constraint constraints.txt
	touch $(USABLE) $@

$(WRITABLE): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN) -m pip install --editable '.[site]' --constraint constraints.txt
	touch $(USABLE) $@

$(VENV)/bin/python:
	@test -n '$(PYTHON)' || { echo 'circuitstore needs Python 3.11 or newer; found none. Install it, or give its path: make PYTHON=/path/to/python3'; exit 2; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:
	rm -rf $(VENV) build dist site *.egg-info
