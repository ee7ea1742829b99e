# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing waits without a bound: calls that may hang in the kernel or in a library."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

Answer = TypeVar("Answer")


def bounded(call: Callable[[], Answer], seconds: float, what: str, remedy: str, host: str = "") -> Answer:
    """What the call returns or raises; CloudError about `what` if it has not done so within the bound.

    The call goes on in a thread that nobody waits for: it must only look, or be harmless when it ends late.
    """
    outcome: dict = {}

    def run() -> None:
        try:
            outcome["answer"] = call()
        except BaseException as error:  # it is raised again where the answer was asked for
            outcome["error"] = error

    thread = threading.Thread(target=run, name=f"bounded: {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise CloudError(host or os.uname().nodename, what, f"no answer within {seconds:g} s", remedy)
    if "error" in outcome:
        raise outcome["error"]
    return outcome["answer"]
