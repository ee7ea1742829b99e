# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that answer as a table says."""

from __future__ import annotations

import json
import types

import requests

Thing = types.SimpleNamespace


def raises(error):
    def function(*dummy, **more):
        raise error
    return function


def answers(table):
    """An API by its paths; a status alone is an error's."""
    def ask(path):
        said, response = table[path], requests.Response()
        response.status_code = 200 if isinstance(said, dict) else said
        response._content, response.request = json.dumps(said).encode(), requests.Request("GET", "http://one" + path)
        return response
    return ask
