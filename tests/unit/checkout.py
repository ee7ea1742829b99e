# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets whoever imports this, also a process that a test starts, import ansible_collections.our.cloud from the checkout in place."""

from __future__ import annotations

import pathlib

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

UNIT = pathlib.Path(__file__).resolve().parent
CHECKOUT = UNIT.parents[1]


def log_beside(ours: pathlib.Path) -> None:
    """In a copy of the collection, the site's log is a file in the directory that $STUB names."""
    path = ours / "plugins/module_utils/_site/log.py"
    text = path.read_text(encoding="utf-8")
    assert text.count('PATH = "/var/log/our-cloud/site.log"') == 1
    path.write_text(text.replace('PATH = "/var/log/our-cloud/site.log"', 'PATH = os.environ["STUB"] + "/site.log"'), encoding="utf-8")


_AnsibleCollectionFinder([str(CHECKOUT / "collections")])._install()
