# `make cloud`, `make lab` and `make test` work on a fresh Debian computer; each says what it does. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
PLAYBOOK := $(BIN)/ansible-playbook
INVENTORY ?= lab

# Ansible's sudo knows of no password that was given to another one.
BECOME = $(if $(SUDO),$(shell sudo -kn true 2>/dev/null || echo --ask-become-pass))
# A docker of another origin will do.
CLOUD_PACKAGES := arch-test iproute2 iptables mmdebstrap openssh-client python3-venv uidmap $(if $(shell PATH=$$PATH:/usr/sbin command -v dockerd),,docker.io)
LAB_PACKAGES := arch-test fdisk mmdebstrap openssh-client python3-venv qemu-system-x86 qemu-utils uidmap vde2
TEST_PACKAGES := chromium-driver docker.io grub-common grub-pc-bin iproute2 mtools nftables shellcheck squashfs-tools xorriso

# Mitogen: on emulated machines minutes become seconds. Everything works without it: make lab ACCELERATE=no
ACCELERATE ?= yes
ifeq ($(ACCELERATE),yes)
export ANSIBLE_STRATEGY = mitogen_linear
# The shell's pattern: make would remember that there was no .venv when it began.
export ANSIBLE_STRATEGY_PLUGINS = $(shell echo $(CURDIR)/$(VENV)/lib/python3*/site-packages/ansible_mitogen/plugins/strategy)
endif
export ANSIBLE_TIMEOUT ?= 120
# Ansible does not flush what it writes into a pipe or a file: progress would come in one piece at the end.
export PYTHONUNBUFFERED = 1

.PHONY: help cloud cloud-up cloud-status cloud-destroy cloud-deps lab lab-up lab-cloud lab-status lab-destroy test lint unit coverage mutants sanity molecule long torture bench docs deps test-deps artifact

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

cloud: cloud-deps ## everything: a cloud in containers of this computer, with an amd64 and an ARM instance
	$(PLAYBOOK) $(BECOME) -i inventories/cloud playbooks/lab.yml site.yml playbooks/sample_cloud.yml

cloud-up: cloud-deps ## start the containers of the cloud, nothing more
	$(PLAYBOOK) $(BECOME) -i inventories/cloud playbooks/lab.yml

cloud-status: cloud-deps ## show the containers of the cloud
	@$(PLAYBOOK) $(BECOME) -i inventories/cloud playbooks/lab.yml -e lab_state=status

cloud-destroy: cloud-deps ## end the containers of the cloud and remove their disks
	$(PLAYBOOK) $(BECOME) -i inventories/cloud playbooks/lab.yml -e lab_state=absent

# In one go: what connects anew costs emulated machines half a minute.
lab: deps lab-cloud ## everything: boot five machines, make them a site, move guests; a cloud, too, where there is VT, or CLOUD=yes (or no)
	$(PLAYBOOK) -i $(INVENTORY) playbooks/lab.yml site.yml playbooks/sample_moves.yml \
		$$(grep -qsx yes $(INVENTORY)/.lab/cloud && echo playbooks/sample_cloud.yml)

lab-up: deps lab-cloud ## boot the machines of the lab, nothing more; with CLOUD= as for lab
	$(PLAYBOOK) -i $(INVENTORY) playbooks/lab.yml

lab-status: deps ## show the machines of the lab
	@$(PLAYBOOK) -i $(INVENTORY) playbooks/lab.yml -e lab_state=status

lab-destroy: deps ## end the machines of the lab and remove their disks
	$(PLAYBOOK) -i $(INVENTORY) playbooks/lab.yml -e lab_state=absent

test: test-deps ## lint, unit, sanity, molecule
	tests/all

lint: test-deps ## ansible-lint (production), yamllint, shellcheck
	tests/all lint

unit: test-deps ## unit tests of the Python code
	tests/all unit

# Percent of lines and branches together, as coverage.py counts them
coverage: test-deps ## unit tests with branch coverage, by wing; fails below 92 % of plugins, 95 % of _guest, _move, _registry and _site
	$(BIN)/python -m coverage run -m pytest -q tests/unit
	@low=; for part in plugins plugins/*/ plugins/module_utils/*/; do part=$${part%/}; \
		case $$part in plugins) least=92;; */_guest|*/_move|*/_registry|*/_site) least=95;; */module_utils|*__) continue;; *) least=0;; esac; \
		seen=$$($(BIN)/python -m coverage report --include="$$part/*" --format=total --fail-under=$$least) && lacks= || { lacks=" (at least $$least)"; low=yes; }; \
		printf '%-35s %6s %%%s\n' "$$part" "$${seen%%[!0-9.]*}" "$$lacks"; \
	done; [ -z "$$low" ] || { echo "Too little is covered. What is missing: $(BIN)/python -m coverage report --show-missing"; exit 1; }

SAMPLE ?= 50
mutants: test-deps ## put faults into _guest, _move, _registry and _site, a sample of each (SAMPLE=50), and tell which no unit test notices
	$(BIN)/python tests/mutants.py --sample $(SAMPLE)

sanity: test-deps ## ansible-test sanity and the collection's documentation, on the built artifact
	tests/all sanity

molecule: test-deps ## the scenarios of make test: moves (KVM), gateway and bridge in containers, default (Xen) in virtual machines, the cloud in containers
	tests/all molecule

long: test-deps ## the scenarios that make test has no time for: all cases of Xen and of the cloud, KVM in virtual machines, and those that build appliances
	tests/all molecule default cloud kvm oar batch arm images

ROUNDS ?= 50
torture: test-deps ## nodes that die, a LAN that is cut, moves that are killed, in random order, on the machines of scenario moves; not in make test
	$(BIN)/molecule converge --scenario-name moves
	$(BIN)/python tests/torture.py --rounds $(ROUNDS)

bench: test-deps ## measure; writes docs/benchmarks.md
	$(BIN)/python bench/run.py

docs: test-deps ## the modules' reference, written to docs/modules/
	ANSIBLE_COLLECTIONS_PATH=collections $(BIN)/antsibull-docs collection --use-current --squash-hierarchy --no-indexes \
		--output-format simplified-rst --dest-dir docs/modules our.cloud

artifact: deps ## the collection as a tar ball, in .cache/
	mkdir -p .cache && $(BIN)/ansible-galaxy collection build --force --output-path .cache

# Whether the lab's machines are a cloud, too (inventories/lab/lab_cloud.yml), is decided when they are made.
# By itself where hardware virtualization works and there is the memory.
CLOUD ?=
LAB_CLOUD_MIB := 14336
lab-cloud: deps
	@[ -e $(INVENTORY)/lab_cloud.yml ] || exit 0; state=$(INVENTORY)/.lab; cloud=$(CLOUD); \
	case "$$cloud" in yes|no|"") ;; *) echo "CLOUD is yes or no, not $$cloud"; exit 1;; esac; \
	if [ -n "$$(ls -A $$state/machines 2>/dev/null)" ]; then \
		made=$$(cat $$state/cloud 2>/dev/null || echo no); \
		[ "$${cloud:-$$made}" = $$made ] || { echo "The lab's machines were made with CLOUD=$$made. Remedy: make lab-destroy first, or CLOUD=$$made"; exit 1; }; \
		cloud=$$made; \
	elif [ -z "$$cloud" ]; then \
		[ -e $$state/accelerator ] || $(PLAYBOOK) -i $(INVENTORY) playbooks/lab.yml -e lab_state=probe --limit gateway || exit 1; \
		cloud=no; ! grep -qsx kvm $$state/accelerator || ! awk '/^MemAvailable:/ { exit $$2 < $(LAB_CLOUD_MIB) * 1024 }' /proc/meminfo || cloud=yes; \
		echo "The lab's machines are a cloud, too: $$cloud (make lab CLOUD=yes or CLOUD=no, before they are made)"; \
	fi; \
	mkdir -p -m 700 $$state && echo $$cloud >$$state/cloud

# apt only where something is missing, so that a second call needs neither root nor the network.
define install_packages
@missing=$$(for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
if [ -n "$$missing" ]; then echo "installing Debian packages:" $$missing; $(SUDO) apt-get -q update >/dev/null && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $$missing >/dev/null; fi
endef

deps: $(VENV)/lab.stamp
	$(call install_packages,$(LAB_PACKAGES))

# Containers need root, and that is said before anything is done.
cloud-deps: $(VENV)/lab.stamp
	@[ $$(id -u) = 0 ] || { echo "The cloud's machines are containers, for which docker needs root: sudo will be used, and asks for your password if it needs one."; \
		command -v sudo >/dev/null || { echo "There is no sudo. Remedy: run make as root, or install sudo"; exit 1; }; }
	$(call install_packages,$(CLOUD_PACKAGES))

test-deps: deps $(VENV)/test.stamp
	$(call install_packages,$(TEST_PACKAGES))

$(VENV)/bin/python:
	$(call install_packages,python3-venv)
	python3 -m venv $(VENV)

$(VENV)/lab.stamp: requirements.txt | $(VENV)/bin/python
	@echo "installing Python packages into $(VENV): requirements.txt"
	@$(BIN)/pip install --quiet --requirement $<
	@touch $@

$(VENV)/test.stamp: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	@echo "installing Python packages into $(VENV): requirements-dev.txt"
	@$(BIN)/pip install --quiet --requirement $<
	@touch $@
