# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every error of ours says: where, what, why, and what to do about it."""

from __future__ import annotations

import os


class CloudError(Exception):
    """Something did not work. The text is "host: thing: cause. remedy"; parts that are not known are left out."""

    def __init__(self, host: str, thing: str, cause: object, remedy: str = "") -> None:
        self.host, self.thing, self.cause, self.remedy = host, thing, str(cause), remedy
        where = ": ".join(part for part in (host, thing, self.cause.rstrip(".") if remedy or thing else self.cause) if part)
        super().__init__(f"{where}. {remedy}" if remedy else where)


class Refused(CloudError):
    """Something that is wrong in itself, on whatever host: the cause, with the thing and the remedy in one text."""

    def __init__(self, text: object, remedy: str = "") -> None:
        super().__init__("", "", text, remedy)


def unforeseen(thing: str, error: Exception) -> str:
    """The message for a failure of libvirt or the system that nothing more can be said about."""
    return (f"{os.uname().nodename}: {thing}: {str(error).rstrip('.')}. our.cloud.vm_info tells the state of guests, "
            "`journalctl -u libvirtd` there may tell more")
