# SPDX-License-Identifier: Apache-2.0

SWIFT ?= swift
PYTHON := /usr/bin/python3
# Where `install` puts things; DESTDIR goes before all of it.
DESTDIR ?=
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
# A distribution's units and those of the machine's operator live in different places.
UNITDIR ?= $(if $(filter /usr,$(PREFIX)),/usr/lib,/etc)/systemd/system

BUILD_PACKAGES := libnetfilter-queue-dev libmnl-dev libnftnl-dev libbpf-dev pkg-config
RUN_PACKAGES := nftables iptables ipset iproute2 iputils-ping socat curl iperf3 tcpdump tshark ethtool \
  conntrack python3 python3-scapy python3-pytest procps util-linux
BENCH_PACKAGES := python3-venv python3-dev valgrind binutils
GUEST_PACKAGES := qemu-system-x86 cpio kmod
# What is in the guest; its tests look at no packet with these.
IN_GUEST = mount kmod $(filter-out tshark tcpdump iperf3 python3-scapy,$(RUN_PACKAGES))
# The kernel of the guest: 6.12 or 6.1.
KERNEL ?= 6.12

RELEASE := .build/release
# The compiler that comes with Swift also makes programs for the kernel.
TOOLCHAIN = $(dir $(realpath $(shell command -v $(SWIFT))))
# Modules that give the kernel programs, each with what these are called.
PROGRAMS := CalloutLifecycle/lifecycle LinkLayer/divert
IN_NAMESPACE := env -u CALLOUT_NETNS Tests/run-in-namespace.sh
SHARE = $(DESTDIR)$(PREFIX)/share/callout
UNITS := calloutd.service calloutd-boot.service
POLICY = $(DESTDIR)$(SYSCONFDIR)/callout/policy.yaml
# An installation that is in use, not one that is being packed.
LIVE = [ -z '$(DESTDIR)' ] && [ -d /run/systemd/system ]

# $(call install-packages,names,what to do when one is missing and this is not root)
define install-packages
missing=; \
if ! command -v dpkg-query >/dev/null; then \
  echo 'deps: this is no Debian; make sure that you have what these packages hold: $(1)'; \
else \
  for package in $(1); do \
    dpkg-query --show --showformat '$${Status}' $$package 2>/dev/null \
      | grep -q 'ok installed' || missing="$$missing $$package"; \
  done; \
fi; \
if [ -n "$$missing" ]; then \
  if [ "$$(id -u)" -ne 0 ]; then \
    echo "deps: missing; as root: apt-get install$$missing"; $(2); \
  else \
    echo "deps: installing$$missing"; \
    log=$$(mktemp); \
    if { apt-get update --quiet=2 \
      && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
        --no-install-recommends -o DPkg::Lock::Timeout=120 $$missing; } >$$log 2>&1; \
    then rm -f $$log; else cat $$log; rm -f $$log; exit 1; fi; \
  fi; \
fi
endef

.DEFAULT_GOAL := help
.PHONY: help deps deps-build deps-bench build release test test-unit guest-test demo bench mutants \
  lint format layers bpf bpf-check install uninstall clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

deps: deps-build ## installs the Debian packages that are missing (root)
	@$(call install-packages,$(RUN_PACKAGES),true)

deps-build:
	@$(call install-packages,$(BUILD_PACKAGES),exit 1)

deps-bench: deps
	@$(call install-packages,$(BENCH_PACKAGES),exit 1)

build: deps-build ## everything, for debugging
	$(SWIFT) build

release: deps-build ## calloutd and calloutctl, optimised, with Swift's libraries inside
	$(SWIFT) build -c release --static-swift-stdlib --product calloutd
	$(SWIFT) build -c release --static-swift-stdlib --product calloutctl

test: deps ## all tests (as root; others run the unit tests); the last line sums up
	$(SWIFT) build --build-tests
	@if [ "$$(id -u)" -eq 0 ]; then $(MAKE) --no-print-directory release; fi
	@$(PYTHON) -B Tests/run-all.py

test-unit: deps-build ## the tests that need neither root nor a network
	$(SWIFT) build --build-tests
	@$(PYTHON) -B Tests/run-all.py --unit

# Without the emulator or the kernel, and where these cannot be fetched, it is skipped (status 77).
guest-test: deps release ## tests on a Debian kernel in an emulated machine (root); KERNEL=6.1
	$(SWIFT) build --build-tests
	@($(call install-packages,$(GUEST_PACKAGES),true)) || true
	@$(PYTHON) -B Tests/Guest/guest.py --kernel $(KERNEL) --packages $(IN_GUEST) || [ $$? -eq 77 ]

demo: deps release ## shows the lives of real packets (root)
	@[ "$$(id -u)" -eq 0 ] || { echo 'demo: needs root, for namespaces and queues'; exit 1; }
	@$(IN_NAMESPACE) $(PYTHON) -B Sources/Examples/Demo/demo.py

bench: deps-bench release ## packets per CPU-second beside other NFQUEUE programs (root); BENCH="--case …"
	@$(SWIFT) build -c release --static-swift-stdlib --product frame-batches
	@$(SWIFT) build -c release --static-swift-stdlib --product filter-cost
	@$(PYTHON) -B Sources/Benchmarks/bench.py $(BENCH)

mutants: deps ## breaks the sources as Tests/rows.md says: each test named there must fail; ROWS=F3,F8
	@$(PYTHON) -B Tests/mutants.py $(ROWS)

lint: ## the format of the Swift sources
	$(SWIFT) format lint --strict --recursive Sources Tests Package.swift
	@echo 'lint: fine'

format: ## puts the Swift sources into that format
	$(SWIFT) format format --in-place --recursive Sources Tests Package.swift

layers: ## who may import what, where pointers may be, how long files may be
	@Tests/check-layers.sh

# $(call compile-bpf,module/name,object); without the folder's name, so that it is the same wherever
# it is made
define compile-bpf
(cd Sources/$(dir $(1)) && $(TOOLCHAIN)clang -target bpf -mcpu=v3 -O2 -g -Wall -Werror \
  -fdebug-compilation-dir=. -c Programs/$(notdir $(1)).bpf.c -o $(2) \
  && $(TOOLCHAIN)llvm-objcopy --strip-debug $(2))
endef

bpf: ## compiles the programs for the kernel; what comes out is kept in the repository
	$(foreach program,$(PROGRAMS),$(call compile-bpf,$(program),$(notdir $(program)).bpf.o) &&) true

bpf-check: ## whether what is kept in the repository is what the sources make
	@object=$$(mktemp); trap 'rm -f $$object' EXIT; \
	  $(foreach program,$(PROGRAMS),{ $(call compile-bpf,$(program),$$object); } \
	    && cmp $$object Sources/$(program).bpf.o &&) \
	  echo 'bpf: the objects are those of their sources'

install: release ## programs, units, policy and rules; DESTDIR= PREFIX=/usr/local
	install -D --strip $(RELEASE)/calloutd $(DESTDIR)$(PREFIX)/sbin/calloutd
	install -D --strip $(RELEASE)/calloutctl $(DESTDIR)$(PREFIX)/bin/calloutctl
	install -d $(DESTDIR)$(UNITDIR) $(SHARE)/rules
	@for unit in $(UNITS); do \
	  sed 's|@PREFIX@|$(PREFIX)|' Sources/calloutd/Install/$$unit >$(DESTDIR)$(UNITDIR)/$$unit \
	    && chmod 644 $(DESTDIR)$(UNITDIR)/$$unit || exit 1; \
	done
	install -m 644 $(filter-out %.sh,$(wildcard rules/*)) $(SHARE)/rules
	install -m 755 $(wildcard rules/*.sh) $(SHARE)/rules
	@if [ -e $(POLICY) ] && ! cmp -s $(POLICY) $(SHARE)/policy.yaml; then \
	  echo 'kept your $(POLICY); the example is $(SHARE)/policy.yaml'; \
	else \
	  install -D -m 644 Sources/calloutd/Install/policy.yaml $(POLICY); \
	fi
	install -m 644 Sources/calloutd/Install/policy.yaml $(SHARE)/policy.yaml
	@if $(LIVE); then \
	  systemctl daemon-reload; echo 'start it with: systemctl enable --now calloutd'; \
	  echo 'with boot-time filters also: systemctl enable calloutd-boot'; \
	fi

uninstall: ## takes away what `install` put there; a policy that you changed stays
	@if $(LIVE); then systemctl disable --now $(UNITS) 2>/dev/null || true; fi
	rm -f $(DESTDIR)$(PREFIX)/sbin/calloutd $(DESTDIR)$(PREFIX)/bin/calloutctl \
	  $(addprefix $(DESTDIR)$(UNITDIR)/,$(UNITS))
	@if [ -e $(POLICY) ]; then \
	  if cmp -s $(POLICY) $(SHARE)/policy.yaml; then rm -f $(POLICY); \
	  else echo 'kept your $(POLICY)'; fi; \
	fi
	rm -f $(addprefix $(SHARE)/,policy.yaml $(wildcard rules/*))
	@for directory in $(SHARE)/rules $(SHARE) $(dir $(POLICY)); do \
	  if [ -d $$directory ]; then rmdir --ignore-fail-on-non-empty $$directory; fi; \
	done
	@if [ -n '$(DESTDIR)' ] && [ -d '$(DESTDIR)' ]; then \
	  find '$(DESTDIR)' -mindepth 1 -depth -type d -empty -delete; \
	fi
	@if $(LIVE); then systemctl daemon-reload; fi
	@if [ -z '$(DESTDIR)' ]; then rm -rf /run/callout; fi

clean: ## what was built, but not the packages that were fetched
	$(SWIFT) package clean
	rm -rf .build/bench .build/mutants .build/test-results
