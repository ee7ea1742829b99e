# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Glance as it is asked on its own host, with its own account: nothing crosses the network, and no other secret is needed."""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import hashlib
import os
import re
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from ansible_collections.our.cloud.plugins.module_utils._cloud.glance import Taken, User
from ansible_collections.our.cloud.plugins.module_utils._cloud.session import RETRIES, NotThere, speaking
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError

if TYPE_CHECKING:
    from openstack.connection import Connection

CONFIG = "/etc/glance/glance-api.conf"
ENDPOINT = "http://127.0.0.1:9292/v2"
LOCK = "/run/lock/our-cloud-glance"
LOOK = "Look at `journalctl -u glance-api` and /var/log/glance/glance-api.log"
BASE = ("name", "os_hidden", "protected", "visibility", "min_disk", "tags")


@contextlib.contextmanager
def alone(path: str = LOCK) -> Iterator[None]:
    """The second of two runs waits: otherwise it would remove what the first one is uploading as a leftover."""
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def credentials(path: str = CONFIG) -> dict[str, Any]:
    """What openstacksdk needs to log in as Glance does. NotThere."""
    parser = configparser.RawConfigParser(strict=False)
    parser.read(path)
    names = ("auth_url", "username", "password", "project_name", "user_domain_name", "project_domain_name")
    try:
        said = parser["keystone_authtoken"]
        auth = {name: said[name] for name in names}
    except KeyError:
        # the package's own file has comments alone
        raise NotThere(os.uname().nodename, path, "it does not say how Glance logs in", "our.cloud.cloud writes it") from None
    return {"auth": auth, "region_name": said.get("region_name"), "cacert": said.get("cafile"), "interface": "internal"}


class Reading:
    """A file as an HTTP client reads it, with its SHA-512 when it has been read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.hash = file, hashlib.sha512()

    def __len__(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self.file.read(size)
        self.hash.update(data)
        return data


def patch(changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The JSON patch of {property: value, or None if it is to go}."""
    return [{"op": "remove", "path": "/" + key} if value is None else
            {"op": "replace" if key in BASE else "add", "path": "/" + key, "value": value} for key, value in sorted(changes.items())]


class Glance:
    """What a Feeder needs of the cloud. conn: a Connection of openstacksdk, logged in. folder: where Glance keeps its files."""

    def __init__(self, conn: Connection, folder: str) -> None:
        self.host, self.conn, self.folder = os.uname().nodename, conn, folder
        with speaking("keystone"):
            self.project = conn.current_project_id

    @classmethod
    def here(cls, folder: str) -> Glance:
        """That of this host, which logs in as Glance does. NotThere, CloudError."""
        login = credentials()
        try:
            import openstack
        except ImportError as error:
            raise NotThere(os.uname().nodename, "openstacksdk", error, "Install python3-openstacksdk") from error
        with speaking("Glance", NotThere):
            conn = openstack.connect(load_yaml_config=False, load_envvars=False, connect_retries=RETRIES,
                                     image_endpoint_override=ENDPOINT, image_api_version="2", **login)
            conn.authorize()
        return cls(conn, folder)

    def _ask(self, method: str, path: str, accept: Collection[int] = (), **more: Any) -> Any:
        with speaking("Glance"):
            response = getattr(self.conn.image, method)(path, raise_exc=False, **more)
        if response.status_code < 300 or response.status_code in accept:
            return response
        raise CloudError(self.host, "Glance", "%s %s: %d %s" % (method.upper(), path, response.status_code, _said(response)), LOOK)

    def images(self) -> list[dict[str, Any]]:
        """All images, whoever's and hidden or not, as Glance's API tells them."""
        found = []
        for hidden in ("false", "true"):
            following = "/images?" + urllib.parse.urlencode({"limit": 500, "visibility": "all", "os_hidden": hidden})
            while following:
                page = self._ask("get", following).json()
                found += page["images"]
                following = page.get("next", "").partition("/v2")[2]
        return found

    def servers(self) -> list[User]:
        """All instances of all projects, if the cloud has nova."""
        return self._users("compute", lambda server: (server.image or {}).get("id"), lambda: self.conn.compute.servers(all_projects=True))

    def volumes(self) -> list[User]:
        """All volumes of all projects, if the cloud has cinder."""
        return self._users("block-storage", lambda volume: (volume.volume_image_metadata or {}).get("image_id"),
                           lambda: self.conn.block_storage.volumes(all_projects=True))

    def _users(self, service: str, image: Callable[[Any], str | None], ask: Callable[[], Iterable[Any]]) -> list[User]:
        with speaking(service):
            return [User(each.id, each.name, image(each)) for each in ask()] if self.conn.has_service(service) else []

    def create(self, body: Mapping[str, Any]) -> None:
        """Announce an image. Taken."""
        if self._ask("post", "/images", (409,), json=body).status_code == 409:
            raise Taken(body["id"])

    def upload(self, image: str, path: str) -> None:
        """The content of an announced image."""
        with open(path, "rb") as file:
            data = Reading(file)
            response = self._ask("put", "/images/%s/file" % image, (413,), data=data, headers={"Content-Type": "application/octet-stream"})
        if response.status_code == 413:
            raise CloudError(self.host, path, "Glance's store is full, and nothing of it was kept (%s)" % _said(response),
                             "Remove images that nobody needs (the playbook prune), or make the store larger")
        found = self._ask("get", "/images/%s" % image).json()
        if found.get("os_hash_algo") != "sha512" or found.get("os_hash_value") != data.hash.hexdigest():
            raise CloudError(self.host, path, "Glance received something else than was sent", LOOK)

    def update(self, image: str, changes: Mapping[str, Any]) -> None:
        """Set and remove properties."""
        self._ask("patch", "/images/%s" % image, json=patch(changes), headers={"Content-Type": "application/openstack-images-v2.1-json-patch"})

    def delete(self, image: str) -> None:
        """Remove an image, or what there is of it."""
        self._ask("delete", "/images/%s" % image, (404,))

    def stored(self) -> set[str]:
        """The names of Glance's files, the ids of its images."""
        return set(os.listdir(self.folder))

    def drop(self, name: str) -> None:
        """Remove a file that is no image's."""
        os.unlink(os.path.join(self.folder, name))


def _said(response: Any) -> str:
    """What a service says in an error's page, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", response.text or "").split())[:300]


def unsafe(path: str) -> str | None:
    """Why nova refuses a disk with partitions, or None: by its own check, that of oslo.utils."""
    from oslo_utils.imageutils import format_inspector
    try:
        format_inspector.detect_file_format(path).safety_check()
    except format_inspector.SafetyCheckFailed as error:
        return str(error)
    except format_inspector.ImageFormatError as error:
        return "it has no single format (%s)" % error
    return None
