# SPDX-License-Identifier: Apache-2.0
# The front door. `make help` says what there is; meson and ninja do the work behind it.

PREFIX ?= /usr
DESTDIR ?=
FUZZ_SECONDS ?= 60
SIM_SEEDS ?= 20000

all: build/.packages ## build the optimised programs into build/bin/
	@tools/build release
	@mkdir -p build/bin
	@for p in $$(tools/sources programs); do ln -sf ../release/programs/$$p build/bin/$$p; done

build/.packages: tools/packages
	@tools/packages build
	@mkdir -p build && touch $@

debug: build/.packages ## build everything with sanitizers into build/debug/
	@tools/build debug

layer: all ## put together what a cluster's nodes have above their Debian tree, in build/layer/
	@tools/layer build/bin build/layer

up: layer ## start a three-node cluster on this computer and run the NGINX example on it
	@tools/packages nodes
	@build/bin/coracle up
	@examples/nginx/run

down: ## stop and remove that cluster
	@[ ! -x build/bin/coracle ] || build/bin/coracle down

test: layer debug ## run the tests (under 25 minutes); the last line is "N passed, N failed"
	@tools/packages nodes tests
	@tools/run-tests build/debug

format: ## lay out the code as the house does (clang-format 14)
	@git ls-files -co --exclude-standard "*.c" "*.h" | xargs clang-format -i

test-long: layer debug ## long simulations and fuzzing (hours can be given: FUZZ_SECONDS=3600)
	@tools/packages nodes tests long
	@build/debug/sim/sim --file sim/seeds.txt --from 100000 --count $(SIM_SEEDS)
	@build/debug/sim/sim-faults --from 100000 --count 1000
	@tools/fuzz $(FUZZ_SECONDS)

bench: layer ## measure beside the peers, in one run
	@tools/packages nodes tests bench
	@bench/run

clean: ## remove what was built
	rm -rf build

install: layer ## install under $(DESTDIR)$(PREFIX)
	@for p in $$(tools/sources programs); do install -D -m 755 build/bin/$$p $(DESTDIR)$(PREFIX)/bin/$$p; done
	@for p in $$(tools/sources programs); do install -D -m 644 os/bash-completion/coracle \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$p; done
	@for m in docs/man/*.[0-9]; do install -D -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$${m##*/}; done
	@mkdir -p $(DESTDIR)$(PREFIX)/lib/coracle
	@install -m 755 tools/node-tree tools/node-trim $(DESTDIR)$(PREFIX)/lib/coracle/
	@rm -rf $(DESTDIR)$(PREFIX)/lib/coracle/layer && cp -a build/layer $(DESTDIR)$(PREFIX)/lib/coracle/layer

help: ## show this
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

# Programs and cluster tests take turns; only the build itself is parallel.
.NOTPARALLEL:
.PHONY: test-long bench all layer up down debug test format clean install help
