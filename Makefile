# make demo    the main job on handwritten digits: discover, store, compare, report (run again: nothing is recomputed)
# make test    all tests
# make check   style, types, arrows between the rooms
#
# make format  put the code in form        make docs, make readme   make the made parts of the documentation
#                                          (GRAPH=bolt://… also holds the answers against that graph's)
#
# Each does its own set-up into .venv, once; it needs Python 3.11 or newer (PYTHON=… names one).

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
RUN := $(VENV)/bin/python
# A virtual environment knows its folder: a clone that was moved is set up anew.
HERE := $(shell printf '%s' '$(CURDIR)' | cksum | cut -d ' ' -f 1)
USABLE := $(VENV)/.usable-$(HERE)
TESTABLE := $(VENV)/.testable-$(HERE)

.PHONY: demo test check format docs readme setup clean
.DELETE_ON_ERROR:

demo: $(USABLE)
	$(RUN) -m circuitstore.cli demo

test: $(TESTABLE)
	$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(TESTABLE)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
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

setup: $(TESTABLE)

$(USABLE): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN) -m pip install --editable . --constraint constraints.txt
	touch $@

$(TESTABLE): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN) -m pip install --editable '.[dev]' --constraint constraints.txt
	touch $(USABLE) $@

$(VENV)/bin/python:
	@test -n '$(PYTHON)' || { echo 'circuitstore needs Python 3.11 or newer; found none. Install one, or name it: make PYTHON=/path/to/python3'; exit 2; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:
	rm -rf $(VENV) build dist *.egg-info
