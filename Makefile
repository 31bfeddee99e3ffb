# Every target is enough by itself: it makes .venv and installs when it has to.
PYTHON ?= python3
ARGS ?=
REPO ?=
FOLDER ?=
STAMP := .venv/installed
COLAB := build/colab-venv/installed
RUN := .venv/bin/python -m

.PHONY: help lab test test-colab lessons notebooks times refresh colab diff bench panels keys gpu speedrun few-shot challenge margins false-alarms pictures rooms results clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

lab: $(STAMP)  ## open your copies of the lessons in JupyterLab (FOLDER=~/lessons, ARGS="--no-browser --port 9999")
	$(RUN) tools.lab $(if $(FOLDER),--folder "$(FOLDER)") $(ARGS)

# A file on each core, the longest first; one thread each, because two trainings that share two cores with two threads
# each stand still.
test: $(STAMP)  ## linting, the unit tests, and every lesson under nbval
	$(RUN) ruff check
	$(RUN) ruff format --check
	OMP_NUM_THREADS=1 $(RUN) pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	  --nbval --nbval-current-env --nbval-cell-timeout=300 tests/browser notebooks tests $(ARGS)

test-colab: $(COLAB) colab  ## every lesson alone, with the packages that Colab has
	OMP_NUM_THREADS=1 .venv/bin/python tests/colab_like.py build/colab-venv/bin/python build/colab/*.ipynb

lessons: $(STAMP)  ## run every lesson without a browser; executed copies in build/lessons
	$(RUN) tools.run_lessons $(ARGS)

notebooks: refresh  ## run every lesson and rewrite its committed outputs (ARGS=notebooks/NAME.ipynb for one)
	$(RUN) tools.run_lessons --write $(ARGS)

times: $(STAMP)  ## measure how long the lessons take, and write it where it is told (ARGS=notebooks/NAME.ipynb)
	$(RUN) tools.run_lessons --times $(ARGS)
	$(RUN) tools.publish

refresh: $(STAMP)  ## rewrite the set-up cell, times and badges of the lessons and of README.md; runs no lesson
	$(RUN) tools.publish

colab: $(STAMP)  ## lessons that open alone, in build/colab; REPO=owner/name: they install from there, badges too
	rm -f build/colab/*.ipynb
	$(RUN) tools.publish --out build/colab $(if $(REPO),--repository $(REPO))

diff: $(STAMP)  ## what changed in the lessons, as text (ARGS=main..HEAD)
	git -c diff.lesson.textconv=".venv/bin/python -m tools.run_lessons --show" diff $(ARGS) -- notebooks

bench: $(STAMP)  ## time the engine beside other libraries, some ten minutes (ARGS="--quick", "--memory")
	$(RUN) benchmarks meta-step $(ARGS)

panels: $(STAMP)  ## time trainings with and without their panels, some eight minutes (ARGS="--json FILE")
	$(RUN) benchmarks panels $(ARGS)

keys: $(STAMP)  ## time each panel from a key to the picture, in a browser, some minutes (ARGS="--json FILE")
	$(RUN) benchmarks keys $(ARGS)

gpu: $(STAMP)  ## check, time and train on a GPU, under nine minutes (ARGS="--device cpu --quick" tries it without one)
	$(RUN) benchmarks gpu $(ARGS)

speedrun: $(STAMP)  ## measure how soon trainings reach 90 to 97 %, on a quiet machine (ARGS="--json FILE")
	$(RUN) benchmarks speedrun $(ARGS)

few-shot: $(STAMP)  ## train lesson 2's rivals over seeds, half an hour (ARGS="--json FILE")
	$(RUN) benchmarks few-shot $(ARGS)

challenge: $(STAMP)  ## train for the author's one-shot challenge on a GPU (ARGS="--device cuda --json FILE")
	$(RUN) benchmarks challenge $(ARGS)

margins: $(STAMP)  ## run every lesson with other seeds: do its checks hold with a margin? Hours (ARGS="--json FILE")
	$(RUN) benchmarks margins $(ARGS)

false-alarms: $(STAMP)  ## examine the package's own learners over seeds: is one called ill? (ARGS="--json FILE")
	$(RUN) benchmarks false-alarms $(ARGS)

pictures: $(STAMP)  ## take README's pictures from today's panels, in a browser (chromium), into docs/
	METALAB_TEST_ALL=1 METALAB_SCREENSHOTS=docs $(RUN) pytest tests/browser/test_pictures_of_readme.py $(ARGS)

rooms: $(STAMP)  ## count the lines of every room of the house
	$(RUN) tools.rooms

results: $(STAMP)  ## rewrite the results page from the measurements in results/
	$(RUN) benchmarks report $(ARGS)

clean:  ## remove .venv and build, except your copies of the lessons in build/my-lessons
	rm -rf .venv
	test ! -d build || find build -mindepth 1 -maxdepth 1 ! -name my-lessons -exec rm -rf {} +

# The stamp is written last: without it the first install was cut short, and the next one starts from nothing.
$(STAMP): requirements.txt pyproject.toml
	@test -e $@ || "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "'$(PYTHON)' is not Python 3.11 or newer. Install one, or name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test -e $@ || "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make a virtual environment. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	test -e $@ || "$(PYTHON)" -m venv --clear .venv
	$(RUN) pip install --requirement requirements.txt --editable .
	touch $@

$(COLAB): tests/colab.txt $(STAMP)
	test -e $@ || .venv/bin/python -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --requirement tests/colab.txt
	touch $@
