# Every target is enough by itself: it makes .venv and installs when it has to.
PYTHON ?= python3
ARGS ?=
STAMP := .venv/installed
RUN := .venv/bin/python -m

.PHONY: help lab test lessons notebooks bench results clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

lab: $(STAMP)  ## open JupyterLab at the lessons (ARGS="--no-browser --port 9999")
	$(RUN) jupyterlab --allow-root --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(ARGS)

test: $(STAMP)  ## linting, the unit tests, and every lesson under nbval
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) pytest --nbval --nbval-current-env --nbval-cell-timeout=300 tests notebooks $(ARGS)

lessons: $(STAMP)  ## run every lesson without a browser; executed copies in build/lessons
	$(RUN) metalab.lessons.run $(ARGS)

notebooks: $(STAMP)  ## run every lesson and rewrite its committed outputs
	$(RUN) metalab.lessons.run --write $(ARGS)

bench: $(STAMP)  ## time the engine beside other libraries, some ten minutes (ARGS="--quick", "--memory")
	$(RUN) metalab bench $(ARGS)

results: $(STAMP)  ## rewrite the results page from the measurements in results/
	$(RUN) metalab results $(ARGS)

clean:  ## remove .venv and build
	rm -rf .venv build

# The stamp is written last: without it the first install was cut short, and the next one starts from nothing.
$(STAMP): requirements.txt pyproject.toml
	@test -e $@ || "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "'$(PYTHON)' is not Python 3.11 or newer. Install one, or name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test -e $@ || "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make a virtual environment. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	test -e $@ || "$(PYTHON)" -m venv --clear .venv
	$(RUN) pip install --requirement requirements.txt --editable .
	touch $@
