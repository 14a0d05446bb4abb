# Commands for developers. Start with `make demo` and `make test`; `make help` lists the rest.
#
# Requirements: Python 3.10+, a C++17 compiler, and a package registry for pip, which installs CMake and Ninja. All
# results are in .venv*/, build/, demo/ and demo-train/; `make clean` removes them.

PYTHON ?= python3
SCALE ?= 0.1
TESTS ?= tests
ORDER ?= forward
DEFER ?=
TRAIN_SCALE ?= 0.05
TRAIN_EPOCHS ?= 20
WERROR ?= OFF
BUDGET ?= 420
GPU_PYTHON ?= $(PYTHON)
GPU_ARCH ?= 90

VENV := .venv
TOOLS := .venv-tools
BENCH := .venv-bench
DOCS := .venv-docs
LIBRARIES := .venv-libraries
PAGE := .venv-page
PIP_INSTALL = bin/python -m pip install --quiet --disable-pip-version-check
WHEEL = $$(ls build/wheel/*.whl)

# Tests that `make test` leaves out, because they have an environment of their own.
APART := test-recipes test-originals test-page

PACKAGE := pyproject.toml CMakeLists.txt README.md LICENSE $(wildcard cmake/*.cmake csrc/bindings/* csrc/core/* csrc/cpu/* csrc/cuda/*) $(shell find vltr_eval vltr_train -type f -not -name '*.pyc' -not -name '*.so')
PYTHON_FILES := $(wildcard vltr_*) tests benchmarks tools experiments examples
CXX_FILES := $(shell find csrc -type f)

.PHONY: help demo demo-train picture compare examples page report-picture test test-page test-recipes test-originals test-cuda-emulated docs lint types format test-cpp test-cpp-plain test-cpp-thread test-cpp-address test-cpp-aarch64 bench bench-grid bench-intervals bench-page bench-kernels gpu-wheel gpu-check fuzz clean
.DELETE_ON_ERROR:

help:
	@echo "make demo [SCALE=0.1]     install into $(VENV), make a demo set and evaluate it, also as a page; SCALE=1 is"
	@echo "                          51,239 x 1,004"
	@echo "make demo-train [TRAIN_SCALE=0.05] [TRAIN_EPOCHS=20]"
	@echo "                          make a synthetic data set, train a baseline and FrameStack on it, show their table"
	@echo "make examples             run the scripts of examples/ and its notebook, and show what they print"
	@echo "make test [TESTS=tests]   install with the test dependencies and run pytest"
	@echo "make test-recipes         run the recipes of docs/trackers.md with the trackers themselves"
	@echo "make test-originals       run published code beside the conventions of vltr_eval.conventions"
	@echo "make page                 build the script and the style of HTML reports from web/ (needs Node.js)"
	@echo "make test-page            drive HTML reports in Chromium (needs Node.js and /usr/bin/chromium, or CHROMIUM)"
	@echo "make test-cuda-emulated [ORDER=forward|reverse|SEED] [DEFER=forward|reverse|SEED]"
	@echo "                          run the CUDA tests by pytest, with kernels emulated on the CPU; with DEFER streams are"
	@echo "                          asynchronous, in an order that harms, and AddressSanitizer watches memory"
	@echo "make test-cpp             C++ tests, emulated kernels included: plain, under ThreadSanitizer, under"
	@echo "                          AddressSanitizer and UBSan"
	@echo "make test-cpp-aarch64     C++ tests for aarch64 under qemu-user, and the same bits as here (needs Debian's"
	@echo "                          g++-aarch64-linux-gnu and qemu-user)"
	@echo "make bench-kernels        measure single CPU kernels (csrc/bench)"
	@echo "make lint, make format    check, or fix, the style of Python and C++; lint checks types as well"
	@echo "make compare              train the rows that decide the claims of five papers, on synthetic and real data"
	@echo "make bench [ARGS=--quick] compare with other libraries, in a separate environment (benchmarks/README.md)"
	@echo "make bench-grid [ARGS='--against FOLDER']"
	@echo "                          compare with the easy numpy version, and with another build, over a grid of shapes"
	@echo "make bench-intervals [ARGS=--quick]"
	@echo "                          intervals, the bootstrap and comparisons beside AP and beside other libraries"
	@echo "make bench-page [ARGS=--quick]"
	@echo "                          time and size of the HTML page over the report, up to 20,000 classes"
	@echo "make report-picture       draw docs/_static/report.png, the HTML report of the demo set (needs Chromium)"
	@echo "make picture              draw docs/picture.svg, the picture of the README, from the demo set"
	@echo "make fuzz [ARGS='--seconds 600 --seed 7']"
	@echo "                          mutate files of every format for a minute; readers must read or refuse each"
	@echo "make gpu-wheel [GPU_PYTHON=python3.12] [GPU_ARCH=90]"
	@echo "                          build the wheel that gpu-check installs; needs nvcc and no GPU"
	@echo "make gpu-check [BUDGET=420] [ARGS='--again headline']"
	@echo "                          on a machine with a GPU: compare, measure, test, sanitize and train, in stages that the"
	@echo "                          next visit continues (benchmarks/README.md)"
	@echo "make docs                 build the site into build/docs; warnings are errors"
	@echo "make clean                remove environments, builds and the demo set"
	@echo "PYTHON=python3.12 chooses the interpreter, VLTR_CUDA=ON|OFF|AUTO the CUDA build of demo, test and bench"

demo: $(VENV)/.installed
	$(VENV)/bin/vltr-eval demo demo --scale $(SCALE)
	$(VENV)/bin/vltr-eval demo/preds.npy demo/labels.npy --sap 15 --counts demo/train_counts.lst \
		--class-names demo/class_names.txt --html demo/report.html

demo-train: $(VENV)/.installed-for-training
	$(VENV)/bin/vltr-train synth demo-train/data --scale $(TRAIN_SCALE)
	$(VENV)/bin/vltr-train sweep bce:r101 framestack:r101 --data demo-train/data --runs demo-train/runs --seeds 0 \
	  --paper videolt-1 epochs=$(TRAIN_EPOCHS) lr=3e-3 lr_steps=12,17

# Run in build/, as `test` is.
picture: $(VENV)/.installed-for-figures
	cd build && ../$(VENV)/bin/python ../tools/draw_picture.py

# Finished runs stay in build/compare, so a second call continues the first.
compare: $(VENV)/.installed-for-comparison
	$(VENV)/bin/python experiments/compare_methods.py --work build/compare --out $(ARGS)

examples: $(VENV)/.installed-for-training
	@set -e; for script in examples/*.py; do echo "== $$script"; $(VENV)/bin/python $$script; done
	$(VENV)/bin/python tests/examples/notebook_cells.py examples/evaluate.ipynb

# Two processes, each of which runs whole files: many tests start processes and wait for them.
PARALLEL := -n 2 --dist loadfile

# Run in build/, because in this folder `import vltr_eval` finds the sources, which have no compiled core.
test: $(VENV)/.installed-for-tests
	cd build && ../$(VENV)/bin/pytest -c ../pyproject.toml --rootdir .. $(PARALLEL) $(addprefix ../,$(TESTS)) $(ARGS)
	@echo "make test left out tests with environments of their own: make $(APART)"

test-recipes: $(LIBRARIES)/.installed
	cd build && ../$(LIBRARIES)/bin/pytest -c ../pyproject.toml --rootdir .. ../tests/recipes $(ARGS)

test-originals: $(LIBRARIES)/.installed
	cd build && ../$(LIBRARIES)/bin/pytest -c ../pyproject.toml --rootdir .. ../tests/originals $(ARGS)

# The assets are committed, so that only changes of web/ need Node.js.
page: web/node_modules/.installed
	cd web && node build.mjs

# Run in build/, as `test` is. One test builds the assets again and compares them with the committed ones.
test-page: $(PAGE)/.installed web/node_modules/.installed
	cd build && ../$(PAGE)/bin/pytest -c ../pyproject.toml --rootdir .. ../tests/page $(ARGS)

report-picture: $(PAGE)/.installed
	cd build && ../$(PAGE)/bin/python ../tools/draw_report.py

# PYTHONPATH comes before the installed wheel, which stays as it is. A sanitizer's library must be the first of a process.
# libstdc++ is the second: AddressSanitizer looks for its __cxa_throw at the start, and Python alone does not load it.
# Its reports go to files, because pytest captures stderr and an error ends the process; an error of any process fails the
# run. UBSan writes to stderr alone: ARGS="-s -n 0" shows it.
EMULATED := build/$(if $(DEFER),deferred,emulated)
REPORT = $(CURDIR)/$(EMULATED)/report
LIBRARY = $$($(or $(CXX),g++) -print-file-name=$(1))
SANITIZED = $(if $(DEFER),VLTR_EMULATOR_DEFER=$(DEFER) LD_PRELOAD="$(call LIBRARY,libasan.so) $(call LIBRARY,libstdc++.so)" \
  ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:log_path='$(REPORT)'")
test-cuda-emulated: $(VENV)/.installed-for-tests $(EMULATED)/.built
	@rm -f "$(REPORT)".*
	cd build && env PYTHONPATH="$(CURDIR)/$(EMULATED)/site" VLTR_REQUIRE=cuda VLTR_EMULATOR_ORDER=$(ORDER) $(SANITIZED) \
	  ../$(VENV)/bin/pytest -c ../pyproject.toml --rootdir .. --device cuda $(PARALLEL) $(addprefix ../,$(TESTS)) $(ARGS); \
	  status=$$?; for file in "$(REPORT)".*; do \
	    if grep -qs "ERROR: AddressSanitizer" "$$file"; then head -n 60 "$$file"; status=1; fi; done; exit $$status

lint: types
	$(TOOLS)/bin/ruff check $(PYTHON_FILES)
	$(TOOLS)/bin/ruff format --check $(PYTHON_FILES)
	$(TOOLS)/bin/clang-format --dry-run -Werror $(CXX_FILES)

types: $(TOOLS)/.installed
	$(TOOLS)/bin/mypy --strict vltr_eval
	$(TOOLS)/bin/mypy vltr_train

format: $(TOOLS)/.installed
	$(TOOLS)/bin/ruff check --fix $(PYTHON_FILES)
	$(TOOLS)/bin/ruff format $(PYTHON_FILES)
	$(TOOLS)/bin/clang-format -i $(CXX_FILES)

test-cpp: test-cpp-plain test-cpp-thread test-cpp-address

SANITIZERS_plain :=
SANITIZERS_thread := thread
SANITIZERS_address := address,undefined
CONFIGURE_TESTS = cmake -G Ninja -S . -B build/test-cpp-$(KIND) -DVLTR_TESTS=ON -DVLTR_CUDA=EMULATED \
  -DVLTR_WERROR=$(WERROR) -DVLTR_SANITIZE=$(SANITIZERS_$(KIND))
test-cpp-plain test-cpp-thread test-cpp-address: KIND = $(@:test-cpp-%=%)
test-cpp-plain test-cpp-thread test-cpp-address: $(TOOLS)/.installed
	@PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" && set -ex && \
	$(CONFIGURE_TESTS) -DVLTR_PYTHON=OFF > build/$@.log && \
	cmake --build build/$@ && ctest --test-dir build/$@ --output-on-failure --timeout 300

# Not part of CI, because it needs a cross compiler and qemu-user. The results must have the bits of every instruction set
# of this machine; VLTR_SIMD=generic runs the code of aarch64.
test-cpp-aarch64: test-cpp-plain
	@PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" && set -ex && \
	cmake -G Ninja -S . -B build/$@ -DVLTR_TESTS=ON -DVLTR_PYTHON=OFF -DVLTR_CUDA=OFF -DVLTR_WERROR=$(WERROR) \
	  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
	  -DCMAKE_CXX_FLAGS=-Wno-psabi \
	  "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu" > build/$@.log && \
	cmake --build build/$@ && ctest --test-dir build/$@ --output-on-failure --timeout 600 && \
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/$@/print_bits > build/$@/bits.txt && \
	for simd in generic ""; do VLTR_SIMD=$$simd build/test-cpp-plain/print_bits | cmp - build/$@/bits.txt || exit 1; done

bench-kernels: $(TOOLS)/.installed
	@PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" && set -e && \
	cmake -G Ninja -S . -B build/$@ -DVLTR_BENCH=ON -DVLTR_PYTHON=OFF -DVLTR_CUDA=OFF > build/$@.log && \
	cmake --build build/$@ --target bench_kernels

bench: $(BENCH)/.installed
	$(BENCH)/bin/python benchmarks/bench_eval.py --out $(ARGS)

bench-grid: $(BENCH)/.installed
	$(BENCH)/bin/python benchmarks/bench_grid.py --out $(ARGS)

bench-intervals: $(BENCH)/.installed
	$(BENCH)/bin/python benchmarks/bench_intervals.py --out $(ARGS)

bench-page: $(BENCH)/.installed
	$(BENCH)/bin/python benchmarks/bench_page.py --out $(ARGS)

# Run in build/, as `test` is: autodoc reads the docstrings of the installed wheel.
docs: $(DOCS)/.installed
	@rm -rf build/docs
	cd build && ../$(DOCS)/bin/python -m sphinx -W --keep-going -E -q -b html -d docs-cache ../docs docs $(ARGS)
	@echo "the site: build/docs/index.html"

# Run in build/, as `test` is. Finds are stored in build/fuzz.
fuzz: $(VENV)/.installed-for-tests
	cd build && ../$(VENV)/bin/python ../tests/fuzz/fuzz_reading.py --finds fuzz $(ARGS)

# For the Python and the device of another machine, so that no time there goes to compiling.
gpu-wheel:
	$(PYTHON) tools/gpu_wheel.py --python $(GPU_PYTHON) --arch $(GPU_ARCH) $(ARGS)

# All checks on a machine with a GPU. They need a Python with torch and no network.
gpu-check:
	$(PYTHON) tools/gpu_check.py --budget $(BUDGET) $(ARGS)

clean:
	rm -rf $(VENV) $(TOOLS) $(BENCH) $(DOCS) $(PAGE) $(LIBRARIES) web/node_modules build demo demo-train .pytest_cache .ruff_cache .mypy_cache .hypothesis

# Every environment installs the same wheel. pip builds it in isolation, so the build needs no installed packages.
build/wheel/.built: $(VENV)/.made $(PACKAGE)
	@echo "building vltr (under two minutes; some minutes more with nvcc, unless VLTR_CUDA=OFF) ..."
	@rm -rf build/wheel && mkdir -p build/wheel
	@$(VENV)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w build/wheel .
	@touch $@

# The module comes from the objects of the C++ tests, and the rest from the wheel.
# Its objects are in the folder of those tests; with `make -j` it waits for them if both are asked for.
MADE_FIRST = $(if $(filter test-cpp $(1),$(MAKECMDGOALS)),| $(1))
build/emulated/.built: $(call MADE_FIRST,test-cpp-plain)
build/deferred/.built: $(call MADE_FIRST,test-cpp-address)
build/emulated/.built: KIND := plain
build/deferred/.built: KIND := address
build/emulated/.built build/deferred/.built: build/wheel/.built $(TOOLS)/.installed $(PACKAGE) $(wildcard csrc/cuda_emulator/*)
	@echo "building vltr with emulated kernels (a minute after make test-cpp-$(KIND), else three to five) ..."
	@rm -rf $(@D) && mkdir -p $(@D)
	@PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" && set -e && \
	$(CONFIGURE_TESTS) -DVLTR_PYTHON=ON -DPython_EXECUTABLE="$$(command -v python)" \
	  -Dpybind11_DIR="$$(python -m pybind11 --cmakedir)" \
	  -DSKBUILD_PROJECT_VERSION="$$(ls build/wheel/*.whl | cut -d- -f2)" > $(@D).log && \
	cmake --build build/test-cpp-$(KIND) --target _core > $(@D).log
	@$(VENV)/$(PIP_INSTALL) --no-deps --target $(@D)/site $(WHEEL)
	@cp build/test-cpp-$(KIND)/_core*.so $(@D)/site/vltr_eval/_base/
	@touch $@

%/.made:
	@mkdir -p build
	@$(PYTHON) -m venv $*
	@touch $@

$(VENV)/.installed: build/wheel/.built
	@$(VENV)/$(PIP_INSTALL) --force-reinstall --no-deps $(WHEEL)
	@$(VENV)/$(PIP_INSTALL) $(WHEEL)
	@touch $@

$(VENV)/.installed-for-training: $(VENV)/.installed constraints.txt
	@echo "installing torch ..."
	@$(VENV)/$(PIP_INSTALL) -c constraints.txt "$(WHEEL)[train]"
	@touch $@

$(VENV)/.installed-for-comparison: $(VENV)/.installed constraints.txt
	@echo "installing torch and the package of the real data set ..."
	@$(VENV)/$(PIP_INSTALL) -c constraints.txt "$(WHEEL)[compare]"
	@touch $@

$(VENV)/.installed-for-figures: $(VENV)/.installed constraints.txt
	@$(VENV)/$(PIP_INSTALL) -c constraints.txt "$(WHEEL)[plot]"
	@touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed constraints.txt
	@echo "installing the requirements of the tests ..."
	@$(VENV)/$(PIP_INSTALL) -c constraints.txt "$(WHEEL)[test]"
	@touch $@

$(TOOLS)/.installed: $(TOOLS)/.made constraints.txt
	@$(TOOLS)/$(PIP_INSTALL) -c constraints.txt ruff clang-format cmake ninja pybind11 mypy numpy torch torchmetrics torcheval
	@touch $@

$(DOCS)/.installed: $(DOCS)/.made build/wheel/.built constraints.txt
	@echo "installing what the site needs ..."
	@$(DOCS)/$(PIP_INSTALL) -c constraints.txt "$(WHEEL)[docs]"
	@$(DOCS)/$(PIP_INSTALL) --force-reinstall --no-deps $(WHEEL)
	@touch $@

# One environment for trackers and for published code, because both need torch.
$(LIBRARIES)/.installed: $(LIBRARIES)/.made build/wheel/.built constraints.txt
	@echo "installing the trackers and published code ..."
	@$(LIBRARIES)/$(PIP_INSTALL) -c constraints.txt "$(WHEEL)[recipes,originals]"
	@$(LIBRARIES)/$(PIP_INSTALL) --force-reinstall --no-deps $(WHEEL)
	@touch $@

$(PAGE)/.installed: $(PAGE)/.made build/wheel/.built constraints.txt
	@echo "installing what the tests of HTML reports need ..."
	@$(PAGE)/$(PIP_INSTALL) -c constraints.txt $(WHEEL) playwright pypdf pillow pytest hypothesis
	@$(PAGE)/$(PIP_INSTALL) --force-reinstall --no-deps $(WHEEL)
	@touch $@

web/node_modules/.installed: web/package.json web/package-lock.json
	@cd web && npm ci --silent
	@touch $@

$(BENCH)/.installed: $(BENCH)/.made build/wheel/.built benchmarks/requirements.txt
	@echo "installing the peers ..."
	@$(BENCH)/$(PIP_INSTALL) -r benchmarks/requirements.txt
	@$(BENCH)/$(PIP_INSTALL) --force-reinstall --no-deps $(WHEEL)
	@touch $@

.PRECIOUS: %/.made
