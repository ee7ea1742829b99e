# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For the modules kernel, ramdisk and image: looks at files of the control machine here, and sends what the registry has not."""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.our.cloud.plugins.module_utils._common import sparse
from ansible_collections.our.cloud.plugins.module_utils._registry import registration


class ActionModule(ActionBase):
    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        args = self._task.args
        if args.get("state", "present") != "present" or not args.get("path") or boolean(args.get("remote_src", False), strict=False):
            return dict(result, **self._execute_module(task_vars=task_vars))
        kind = self._task.resolved_action.rpartition(".")[2]
        parts = []
        try:
            path = self._find(args["path"])
            parts = registration.parts_of(kind, args, path)
            return dict(result, **self._register(parts, task_vars))
        except AnsibleError as error:
            # found: a check may be told of a file that is yet to be made
            return dict(result, failed=True, found=False, msg=f"{kind} {args.get('name')}: {error}")
        except registration.ERRORS as error:
            return dict(result, failed=True, msg=f"{kind} {args.get('name')}: {error}")
        finally:
            for part in parts:
                part.close()
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _find(self, path):
        """Beside the playbook, as Ansible's own copy does, or from the directory that it was started in."""
        try:
            return self._find_needle("files", path)
        except AnsibleError:
            if not os.path.exists(path):
                raise
            return os.path.abspath(path)

    def _register(self, parts, task_vars):
        for part in parts:
            part.measure()
        answer = self._ask(parts, (), None, task_vars)
        wanted = [part for part in parts if part.kind in answer.get("missing", [])]
        for part in wanted:
            part.inspect()
        if not wanted or self._task.check_mode:
            return answer
        folder = tempfile.mkdtemp(dir=C.DEFAULT_LOCAL_TMP)
        try:
            here, there = os.path.join(folder, "pack"), self._connection._shell.join_path(self._connection._shell.tmpdir, "pack")
            sparse.pack([source for part in wanted for source in part.sources.values()], here)
            self._transfer_file(here, there)
            self._fixup_perms2((self._connection._shell.tmpdir, there))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self._ask(parts, wanted, there, task_vars)

    def _ask(self, parts, sent, pack, task_vars):
        told = [part.told() if part in sent else dict(part.told(), files=None) for part in parts]
        args = dict({"owner": getpass.getuser()}, **self._task.args, parts=told, pack=pack)
        return self._execute_module(module_args=args, task_vars=task_vars)
