# Thin: each target sets up what it needs, then asks CMake. `make help` lists them.
# SPDX-License-Identifier: Apache-2.0
.DEFAULT_GOAL := help
.PHONY: help setup configure build demo test test-asan test-pip-cuda bench plot format check-format clean distclean

PRESET ?= dev
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
FORMATTED = $(shell git ls-files '*.c' '*.h' '*.cc' '*.cu' '*.cuh' ':!include/fbq/host/device_sources.h')

help:
	@echo 'make demo           quantise a real layer and run it: on the GPU, or without one on the CPU'
	@echo 'make test           build and run every test that this machine can run'
	@echo 'make test-asan      the same under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make test-pip-cuda  the same with the CUDA toolkit that setup fetches, the own one hidden'
	@echo 'make bench          measure on the GPU; without one, list what would be measured'
	@echo 'make plot           draw a result of fbq-bench as build/plot.svg'
	@echo 'make setup          install what is missing (the others do this by themselves)'
	@echo 'make format         clang-format all of our files; make check-format only looks'
	@echo 'make clean          remove what was built; make distclean also removes a fetched toolkit'

setup:
	@scripts/setup.sh

configure: setup
	cmake --preset $(PRESET)

build: configure
	cmake --build --preset $(PRESET) -j $(JOBS)

# Without the model the demo makes a layer of its own, and says so. ARGS go to fbq-demo.
demo: configure
	cmake --build --preset $(PRESET) -j $(JOBS) --target fbq-demo
	@scripts/fetch_model.sh || true
	build/$(PRESET)/examples/demo/fbq-demo $(ARGS)

# The closing summary of ctest is the last thing printed.
test: build
	ctest --preset $(PRESET) -j $(JOBS)

test-asan:
	$(MAKE) test PRESET=asan

# No nvcc on the PATH and none named by the environment, as on a machine without a toolkit.
test-pip-cuda:
	@path=; IFS=:; for folder in $$PATH; do \
	    [ -e "$$folder/nvcc" ] || path="$$path$${path:+:}$$folder"; done; unset IFS; \
	env -u CUDA_HOME -u CUDA_PATH -u CUDACXX -u LIBRARY_PATH -u LD_LIBRARY_PATH PATH="$$path" \
	    FBQ_IGNORE_SYSTEM_CUDA=1 $(MAKE) test PRESET=pip-cuda

# ARGS go to fbq-bench; make bench ARGS=--help lists them.
bench:
	$(MAKE) configure PRESET=release
	cmake --build --preset release -j $(JOBS) --target fbq-bench
	build/release/bench/fbq-bench $(ARGS)

# RESULT names another file, PLOT the picture; ARGS go to bench/plot.py, such as ARGS=--m=8.
RESULT ?= $(lastword $(sort $(wildcard bench/results/*.json)))
PLOT ?= build/plot.svg
plot:
	@python=$$(scripts/setup_plot.sh) && "$$python" bench/plot.py $(ARGS) $(RESULT) $(PLOT) && \
	    echo $(PLOT)

format:
	clang-format -i $(FORMATTED)

check-format:
	clang-format --dry-run -Werror $(FORMATTED)

clean:
	rm -rf build/dev build/asan build/release build/pip-cuda build/package build/prefix build/example

distclean:
	rm -rf build
