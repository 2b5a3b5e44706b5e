# Every target makes .venv and installs what it needs first. `make` alone lists the targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help lesson test test-cuda lint claims bench bench-avx2 gpu-check clean

help:           ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

lesson: $(VENV)/installed  ## build, gradient-check and train AlexNet on real images, and look inside it
	@$(BIN)/tinyconv lesson 01_alexnet --main

test: $(VENV)/installed-test  ## run the fast tests (five minutes once compiled)
	@$(BIN)/python -m pytest

test-cuda: $(VENV)/installed-test  ## run the tests of the CUDA kernels in Numba's simulator (no GPU needed)
	@NUMBA_ENABLE_CUDASIM=1 $(BIN)/python -m pytest -m cuda tests

lint: $(VENV)/installed-dev  ## check style and types
	@$(BIN)/ruff check && $(BIN)/mypy

claims: $(VENV)/installed-test  ## measure the paper's claims over three seeds: make claims LESSON=01 (long)
	@test -n "$(LESSON)" || { echo "claims: say which lesson, for example: make claims LESSON=01"; exit 2; }
	@$(BIN)/python lessons/$(LESSON)_*/claims.py

# The release that BENCHMARKS.md compares with. On Linux this is the build with CUDA (gigabytes, same speed on the CPU);
# a small one: set PIP_EXTRA_INDEX_URL to the address of PyTorch's own packages for the CPU (on its page "Get started").
TORCH ?= torch==2.13.0

bench: $(VENV)/installed-bench  ## measure against PyTorch and write BENCHMARKS.md (half an hour; ARGS="--quick" to try)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

bench-avx2: $(VENV)/installed-bench  ## the same with AVX2 vectors only, as a section of its own
	@$(BIN)/python -m tests.benchmarks --isa avx2 $(ARGS)

# With an interpreter named, nothing is installed: machines with a GPU may have no network.
ifeq ($(origin PYTHON),command line)
gpu-check:      ## check and time everything on this machine's NVIDIA GPU; PYTHON=python3 takes that interpreter as it is
	@$(PYTHON) -m tests.gpu_check $(ARGS)
else
.PHONY: driver
driver:
	@$(PYTHON) -c 'import ctypes, sys; ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")' 2>/dev/null || \
	{ echo "gpu-check: no NVIDIA driver was found on this machine; nothing was installed. tinyconv doctor says more"; exit 2; }

gpu-check: driver $(VENV)/installed-cuda
	@$(BIN)/python -m tests.gpu_check $(ARGS)
endif

clean:          ## remove the environment and what lessons wrote
	rm -rf $(VENV) tinyconv-output build *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache

$(VENV)/installed: setup.cfg setup.py pyproject.toml | $(VENV)/made
	@echo "installing tinyconv and what it needs into $(VENV) (once)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/installed-test: setup.cfg setup.py pyproject.toml | $(VENV)/made
	@echo "installing tinyconv and its test tools into $(VENV) (once)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	@touch $@ $(VENV)/installed

$(VENV)/installed-bench: setup.cfg setup.py pyproject.toml | $(VENV)/made
	@echo "installing tinyconv, its test tools and PyTorch into $(VENV) (once)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,parity]" "$(TORCH)"
	@touch $@ $(VENV)/installed $(VENV)/installed-test

CUDA ?= cuda13
$(VENV)/installed-cuda: setup.cfg setup.py pyproject.toml | $(VENV)/made
	@echo "installing tinyconv and NVIDIA's compiler (0.5 GB) into $(VENV) (once; CUDA=cuda12 for older drivers)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,$(CUDA)]"
	@touch $@ $(VENV)/installed $(VENV)/installed-test

$(VENV)/installed-dev: setup.cfg setup.py pyproject.toml | $(VENV)/made
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@ $(VENV)/installed $(VENV)/installed-test

# Debian and Ubuntu split venv off: without it `python -m venv` stops half-way with a long message.
$(VENV)/made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "tinyconv needs Python 3.11 or newer; $(PYTHON) is %d.%d. Try: make PYTHON=python3.12" % v[:2])'
	@$(PYTHON) -c 'import sys; \
	import importlib.util as u; \
	missing = [m for m in ("venv", "ensurepip") if u.find_spec(m) is None]; \
	package = "python%d.%d-venv" % sys.version_info[:2]; \
	sys.exit("$(PYTHON) cannot make virtual environments here. On Debian or Ubuntu: sudo apt install %s" % package if missing else 0)'
	@$(PYTHON) -m venv $(VENV)
	@touch $@
