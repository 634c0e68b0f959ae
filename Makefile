# The five things to know: make demo, make test-fast, make test, make check, make docs. Each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin

# Rewritten assertions of the tests are kept between runs, in __pycache__.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -p no:schemathesis -p no:hypothesispytest

.PHONY: demo test test-fast check docs install clean

demo: .venv/.installed
	$(BIN)/superbench demo --out demo

test: .venv/.installed
	$(PYTEST)

# Its tests wait for nothing, so one worker for each of two cores; every worker collects all tests, which takes ten seconds.
test-fast: .venv/.installed
	$(PYTEST) -n 2 --ignore tests/parity -m 'not (slow or parity or browser or server)'

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode --constraint constraints.txt --editable '.[all]'
	$(BIN)/python -m compileall -q superbench downstream upstream
	@touch $@

clean:
	rm -rf .venv demo site
