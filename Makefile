# make run        a proxy on port 6080 with a page to try it; LISTEN=6081 TARGET=localhost:5900 WEB=dir for your own
# make test       all tests, with coverage; TESTS="tests.command.test_usage …" for some, COVERAGE= in half the time without,
#                 TRIAL_ARGS=-u for trial itself
# make unit       those that need no program but Python
# make oldest     the same with the oldest libraries that setup.cfg allows, in an environment of its own
# make reactor    integration tests with twistd --reactor: REACTOR=asyncio (the default), poll or select
# make check      ruff and mypy
# make options    docs/options.rst, out of the table of options; and what make man does
# make man        docs/man, out of all options
# make soak       the long tests, 20 minutes
# make soak-hour  everything that may happen to a proxy, for an hour, and a table of what held: docs/testing.rst
# make bench      the proxy beside its peers, a quarter of an hour; BENCH_ARGS=--quick, see benchmarks/README.rst
# make mutants    plants faults, and counts those that unit tests notice, a quarter of an hour: docs/testing.rst
# make build      sdist and wheel, in dist/
# make clean      removes all of that, environment included
# PYTHON=python3.12 chooses the interpreter of a new environment; VENV=.build/3.12 keeps it beside the first.

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
LISTEN = 6080
TARGET = demo:
WEB =
TESTS = tests
REACTOR = asyncio
COVERAGE = yes
TRIAL_ARGS =
# In a directory of its own with a short path, wherever the checkout is: a unix socket's has 107 bytes.
TEMP = temp=$$(mktemp -d) && chmod 755 $$temp
TRIAL = -m twisted.trial --temp-directory $$temp/trial $(TRIAL_ARGS)
KEEP_FAILED = [ $$status -ne 0 ] || rm -rf $$temp
BENCH_ARGS =
SOAK = soak pairs nodes upgrade crash endurance
SPAN = long
SAMPLE = 300
SEED = 1

METADATA = setup.cfg setup.py pyproject.toml $(wildcard rebind/*.[ch] rebind/Makefile) wsproxy/static/package-lock.json
FOLDERS = $(filter-out tests/integration tests/e2e,$(patsubst %/__init__.py,%,$(wildcard tests/*/__init__.py)))

run: $(VENV)/runtime
	$(BIN)/twistd -n --pidfile= websockify --listen $(LISTEN) --target $(TARGET) $(if $(WEB),--web $(WEB))

test: $(VENV)/dev
	$(if $(COVERAGE),$(BIN)/coverage erase)
	$(TEMP) && $(BIN)/$(if $(COVERAGE),coverage run,python) $(TRIAL) $(TESTS); status=$$?; $(KEEP_FAILED); \
	$(if $(COVERAGE),$(BIN)/coverage combine -q; $(BIN)/coverage report;) exit $$status

unit: TESTS = $(subst /,.,$(FOLDERS) $(basename $(wildcard tests/test_*.py)))
unit: test

reactor: export WSPROXY_REACTOR = $(REACTOR)
reactor: TESTS = $(addprefix tests.integration.test_,life http tls secure raw recording bounds)
reactor: test

oldest: .build/oldest.txt
	PIP_CONSTRAINT=$(CURDIR)/$< $(MAKE) unit VENV=.build/oldest

environment: $(VENV)/dev

# that of the tests, and that with the oldest libraries
environments: environment .build/oldest.txt
	PIP_CONSTRAINT=$(CURDIR)/.build/oldest.txt $(MAKE) environment VENV=.build/oldest

# what setup.cfg wants at least, as what is wanted
.build/oldest.txt: setup.cfg
	@mkdir -p .build
	sed -n '/^install_requires/,/^$$/s/^ *\([a-z-]*\) >= \([0-9.]*\)$$/\1 == \2/p' $< >$@

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/mypy

options: $(VENV)/runtime man
	$(BIN)/python -m wsproxy.command.help >docs/options.rst

man: $(VENV)/runtime
	$(BIN)/python -m wsproxy.manual.man docs/man

soak: $(VENV)/dev
	$(TEMP) && WSPROXY_SOAK=$(SPAN) $(BIN)/python $(TRIAL) $(addprefix tests.integration.test_,$(SOAK)); \
	status=$$?; $(KEEP_FAILED); exit $$status

soak-hour: SOAK = endurance
soak-hour: SPAN = hour
soak-hour: soak

bench: $(VENV)/runtime
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

mutants: $(VENV)/dev
	$(BIN)/python -m tests.mutation --sample $(SAMPLE) --seed $(SEED)

build: $(VENV)/dev
	rm -rf dist
	$(BIN)/python -m build

clean:
	rm -rf .venv .build build dist *.egg-info _trial_temp* .coverage* htmlcov .mypy_cache .ruff_cache .hypothesis
	rm -rf wsproxy/static/vendor
	rm -f wsproxy/process/rebind.so rebind/*.so twisted/plugins/dropin.cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: $(BIN)/python $(METADATA)
	$(BIN)/pip install -q -e .
	@test ! -e rebind/rebind.c || test -e wsproxy/process/rebind.so || \
	    echo "No C compiler here: rebind is left out, and programs cannot be wrapped"
	@test -e wsproxy/static/vendor || \
	    echo "No npm here, or no way to its packages: the telnet and VNC pages lack their parts"
	@touch $@

$(VENV)/dev: $(VENV)/runtime
	$(BIN)/pip install -q -e ".[dev]"
	@touch $@

.PHONY: run test unit reactor oldest environment environments check options man soak soak-hour bench mutants build clean
