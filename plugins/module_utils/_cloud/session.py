# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to the cloud's API: openstacksdk with the clouds.yaml that the role clc writes, and its errors as ours, with their remedies."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

if TYPE_CHECKING:
    from openstack.connection import Connection

CLOUDS = "/etc/openstack/clouds.yaml"
# A server that has closed an idle connection resets the next request once.
RETRIES = 2
_NO_CONNECTION = re.compile(r"(https?://[^\s/]+)\S*: .*\[Errno -?\d+\] ([^'\")]+)")


class NotThere(CloudError):
    """There is no cloud that answers: not installed yet, not up, or it refuses the login."""


class Silent(CloudError):
    """A service gives no answer: it is not up, or not up yet."""


# haproxy's status for a service that does not answer; 0: not even haproxy answered.
NO_ANSWER = (0, 502, 503, 504)


def remedy(status: int, error: Exception) -> str:
    """What to do about an error of the API, by its HTTP status (0: there was no answer)."""
    if status == 401:
        return (f"The password in {CLOUDS} is not the one that keystone knows, or a service's is not: our.cloud.cloud tries them all by login "
                "and sets those that are wrong")
    # nova says 403 of its quotas, too
    if status in (413, 429) or (status and "quota exceeded" in str(error).lower()):
        return "A quota of the project is used up: `openstack quota show --usage`"
    if status == 403:
        return "The user's roles do not allow it"
    if status in (502, 503, 504):
        return "haproxy answers and the service behind it does not: `systemctl status` and `journalctl -u` of the service tell why"
    if status >= 500:
        return "The log of the service in /var/log tells why"
    if "certificate" in str(error).lower():
        return "The CA in /etc/our-cloud/ca.pem has not signed what answers there, or the certificate lacks the address: our.cloud.cloud repairs both"
    return "" if status else "Is it up? `systemctl status haproxy` there tells, and that of the service; our.cloud.cloud starts both"


def cause(error: Exception) -> str:
    """What an error of the API says, in one line: the server's own words if there are any, and of a failed connection what the system said."""
    said = " ".join(str(getattr(error, "details", None) or error).split())
    refused = _NO_CONNECTION.search(said)
    return f"no connection to {refused.group(1)}: {refused.group(2)}" if refused else said


@contextlib.contextmanager
def speaking(thing: str, kind: type = CloudError) -> Iterator[None]:
    """Turns errors of openstacksdk into errors of this kind, about the thing."""
    from keystoneauth1 import exceptions as auth_errors
    from openstack import exceptions as sdk_errors

    try:
        yield
    except (sdk_errors.SDKException, auth_errors.ClientException) as error:
        status = getattr(error, "status_code", None) or getattr(error, "http_status", None) or 0
        if kind is CloudError and status in NO_ANSWER and "certificate" not in str(error).lower():
            kind = Silent
        raise kind(os.uname().nodename, thing, cause(error), remedy(status, error)) from error


def connect(cloud: str = "admin") -> Connection:
    """A connection that is logged in as a cloud of clouds.yaml. NotThere if there is no cloud yet."""
    host = os.uname().nodename
    try:
        import openstack
    except ImportError as error:
        raise NotThere(host, "openstacksdk", error, "Install python3-openstacksdk") from error
    with speaking(f"cloud {cloud}", NotThere):
        try:
            connection = openstack.connect(cloud=cloud, connect_retries=RETRIES)
        except openstack.exceptions.ConfigException as error:
            raise NotThere(host, f"cloud {cloud}", error, f"our.cloud.cloud writes {CLOUDS} on the host of the group clc") from error
        connection.session.get_token()
    return connection


def logs_in(connection: Connection, name: str, password: str, domain: str = "Default") -> bool:
    """Whether keystone takes a user's password."""
    from keystoneauth1 import exceptions, identity, session

    auth: Any = identity.V3Password(auth_url=connection.config.auth["auth_url"], username=name, password=password, user_domain_name=domain, unscoped=True)
    with speaking(f"login of {name}"):
        try:
            session.Session(auth=auth, verify=connection.session.verify, connect_retries=RETRIES).get_token()
        except exceptions.Unauthorized:
            return False
    return True
