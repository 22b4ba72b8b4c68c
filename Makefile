# The two commands of a fresh machine, and the check that every change passes.
#
#   make demo    makes .venv, installs what is pinned, and runs the whole road on drawn pictures
#   make test    the same .venv with the test extras, then pytest
#   make check   lint, types, the import contract and the architecture tests
#
# PYTHON is the interpreter that .venv is made from (3.11 or later). A torch that it can import is used
# instead of another download if it satisfies the range in pyproject.toml.

PYTHON ?= python3
BIN := .venv/bin
TORCH_VERSION := import torch; v = torch.__version__; tuple(map(int, v.split(".")[:2])) >= (2, 11) and print(v)
PINS := .venv/constraints.txt

.PHONY: demo test check
.DELETE_ON_ERROR:

demo: .venv/installed
	$(BIN)/seetell demo

test: .venv/installed-test
	$(BIN)/pytest

check: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/pytest tests/arch

.venv/installed: $(PINS) pyproject.toml
	@echo "Installing what constraints.txt pins: about two minutes, once."
	$(BIN)/pip install -q -c $(PINS) -e '.[bench,phrases,data,lora,track]'
	touch $@

.venv/installed-test: $(PINS) pyproject.toml
	@echo "Installing what constraints.txt pins, test extras included: about two minutes, once."
	$(BIN)/pip install -q -c $(PINS) -e '.[test]'
	touch $@ .venv/installed

# With a torch from outside, its version takes the pin's place.
$(PINS): constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv \
	  $$($(PYTHON) -c '$(TORCH_VERSION)' 2>/dev/null | sed 's/.*/--system-site-packages/')
	torch=$$($(BIN)/python -c '$(TORCH_VERSION)' 2>/dev/null || true); \
	  sed "s/^torch==.*/torch==$${torch:-$$(sed -n 's/^torch==//p' constraints.txt)}/" constraints.txt > $@
