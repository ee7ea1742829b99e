# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role certificates with two hosts, both of them this computer: what it makes, that a second run looks and does no more, and what a check says."""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import subprocess
import sys

import pytest
import yaml

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
ME = pwd.getpwuid(os.geteuid()).pw_name
PLAY = [{
    "hosts": "all", "gather_facts": False,
    "tasks": [{
        "ansible.builtin.include_role": {"name": "our.cloud.certificates", "rolespec_validate": False},
        "vars": {
            "certificates_ca": "web", "certificates_dir": "{{ top }}/pki", "certificates_ca_file": "{{ here }}/ca.pem",
            "certificates_crl_file": "{{ here }}/crl.pem", "certificates_install": False,
            "certificates_wanted": [{
                "name": "server", "subject": {"CN": "{{ inventory_hostname }}"}, "names": ["DNS:{{ inventory_hostname }}"], "key": "{{ here }}/server.key",
                "cert": "{{ here }}/server.pem", "owner": ME, "links": [{"link": "{{ here }}/server.pem.key", "to": "server.key"}]}]},
    }],
}]
# What a host with nothing to do runs; the first includes the role.
LOOKS = ["our.cloud.certificates", "Check what is wanted of the CA", "Judge the CA", "Check the CA", "Look for keys and certificates",
         "Compare them with what the host is to have"]


@pytest.fixture(name="run")
def fixture_run(tmp_path):
    """{host: [names of tasks that were not skipped]} and {host: number of changes} of a run."""
    top = tmp_path / "site"
    top.mkdir()
    (tmp_path / "hosts").write_text(f"one here={top}/one\ntwo here={top}/two\n[all:vars]\ntop={top}\n", encoding="utf-8")
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAY), encoding="utf-8")
    (tmp_path / "ansible.cfg").touch()
    site = [path for path in sys.path if path.endswith("site-packages")]

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts"), "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}",
             str(tmp_path / "play.yml"), *arguments], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
            env={**os.environ, "ANSIBLE_STRATEGY": "linear", "ANSIBLE_COLLECTIONS_PATH": ":".join([str(CHECKOUT / "collections"), *site]),
                 "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1"})
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout)
        tasks = [(task["task"]["name"].rpartition(" : ")[2], task["hosts"]) for task in told["plays"][0]["tasks"]]
        return ({host: [name for name, hosts in tasks if host in hosts and not hosts[host].get("skipped")] for host in told["stats"]},
                {host: stats["changed"] for host, stats in told["stats"].items()})
    return run


def test_a_second_run_looks_and_does_no_more(run, tmp_path):
    dummy, changes = run("--check")
    assert changes["one"] and changes["two"] and not (tmp_path / "site/one").exists()

    run()
    for host in ("one", "two"):
        assert sorted(path.name for path in (tmp_path / "site" / host).iterdir()) == ["ca.pem", "crl.pem", "server.key", "server.pem", "server.pem.key"]
        assert oct((tmp_path / "site" / host / "server.key").stat().st_mode)[-3:] == "600"
    assert (tmp_path / "site/one/ca.pem").read_bytes() == (tmp_path / "site/pki/web-ca.pem").read_bytes()
    assert len(list((tmp_path / "site/pki/web-issued").iterdir())) == 2

    tasks, changes = run()
    assert changes == {"one": 0, "two": 0}
    assert tasks == {"one": LOOKS, "two": LOOKS}

    # a lost copy of what the CA issued is taken from the host, and a lost certificate made anew, with the same key
    for path in (tmp_path / "site/pki/web-issued").glob("one.*"):
        path.unlink()
    (tmp_path / "site/two/server.pem").unlink()
    key = (tmp_path / "site/two/server.key").read_bytes()
    tasks, changes = run()
    assert "Keep a copy of the certificate beside the CA" in tasks["one"] and "Make the key" not in tasks["one"]
    assert "Sign the certificate" in tasks["two"] and (tmp_path / "site/two/server.pem").exists() and (tmp_path / "site/two/server.key").read_bytes() == key
    assert len(list((tmp_path / "site/pki/web-issued").glob("one.*"))) == 1
    assert run()[1] == {"one": 0, "two": 0}
