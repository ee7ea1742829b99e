# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.our.cloud.plugins.filter.front_files import front_files
from ansible_collections.our.cloud.plugins.module_utils._cloud import front
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

ADDRESSES = ["192.0.2.1", "198.51.100.1"]


def test_both_addresses():
    base, own = front_files([{"name": "glance", "port": 9292, "backend": "127.0.0.1:9292", "rules": ["option abortonclose"]}], ADDRESSES, "/etc/host.pem")
    assert base["path"] == "/etc/our-cloud/front/00-base.cfg" and "ssl-min-ver TLSv1.2" in base["content"]
    assert own["path"] == "/etc/our-cloud/front/glance.cfg"
    assert own["content"].splitlines()[2:] == [
        "listen glance",
        "    bind 192.0.2.1:9292 ssl crt /etc/host.pem",
        "    bind 198.51.100.1:9292 ssl crt /etc/host.pem",
        "    http-request set-header X-Forwarded-Proto https",
        "    option abortonclose",
        "    server local 127.0.0.1:9292",
    ]


@pytest.mark.parametrize(("public", "addresses"), [(False, ADDRESSES), (True, ["192.0.2.1", ""]), (True, ["192.0.2.1", "192.0.2.1"])])
def test_the_lan_alone(public, addresses):
    text = front.section(front.Front("a", 1, "127.0.0.1:1", public), addresses, "/c")
    assert [line.split()[1] for line in text.splitlines() if "bind" in line] == ["192.0.2.1:1"]


def test_a_word_that_it_does_not_know():
    with pytest.raises(CloudError, match="front of a: there is no prot. It can have backend, name, port, public, rules"):
        front.Front.of({"name": "a", "prot": 1})
