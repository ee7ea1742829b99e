#!/usr/bin/python
# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: glance_images
short_description: Copy the registry's images into Glance
version_added: 0.2.0
description:
  - Makes the images in Glance, from which the cloud makes instances, the same as those of the registry, see M(our.cloud.image_info).
  - It uploads the registry's images with the properties that nova needs, renames those that have another name, and removes those that the registry
    does not have any more.
  - An image that an instance, a volume or a snapshot of the cloud needs stays. This is noted in the registry, which then refuses to remove it.
  - Runs on the host that has both Glance and the store, with Glance's own account. No image crosses the network.
options:
  path:
    description: The directory in which Glance keeps the images. By default C(glance) in the store.
    type: path
extends_documentation_fragment:
  - our.cloud.registry
  - our.cloud.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
requirements:
  - openstacksdk (python3-openstacksdk), with which glance-api comes
seealso:
  - module: our.cloud.image
  - module: our.cloud.image_info
"""

EXAMPLES = r"""
- name: Glance has what the registry has
  our.cloud.glance_images:
    store: /srv/cloud
"""

RETURN = r"""
actions:
  description: What was done (in check mode, what would be).
  returned: success
  type: list
  elements: str
  sample: [upload eki-8b44c049cf81, "update emi-0f3a5c771e20: our_cloud_names", remove emi-9b1c64d05a3e]
ids:
  description: Glance's id of each thing of the registry that is there (in check mode, will be).
  returned: success
  type: dict
  sample: {emi-0f3a5c771e20: 0d60ed9c-8b07-5aa8-9b9f-2f6c1f7d4f9e}
noted:
  description: >-
    The registry's ids of what others in the cloud need now than when it was last asked. The registry knows it then (in check mode, it would);
    this alone is no change.
  returned: success
  type: list
  elements: str
  sample: []
left_out:
  description: Why an image of the registry is not in Glance.
  returned: success
  type: dict
  sample: {}
kept:
  description: What is no longer in the registry and who needs it in the cloud.
  returned: success
  type: dict
  sample: {}
needed:
  description: Who needs what in the cloud, by the registry's ids.
  returned: success
  type: dict
  sample: {emi-0f3a5c771e20: [instance.5c1b0d4c-3c5e-4c8c-9c53-1f7b1de1a0f7]}
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.our.cloud.plugins.module_utils._cloud import glance_api
from ansible_collections.our.cloud.plugins.module_utils._cloud.glance import Feeder
from ansible_collections.our.cloud.plugins.module_utils._cloud.session import NotThere
from ansible_collections.our.cloud.plugins.module_utils._common.errors import CloudError
from ansible_collections.our.cloud.plugins.module_utils._registry.nfs_store import check_room
from ansible_collections.our.cloud.plugins.module_utils._registry.open import open_registry


def main():
    module = AnsibleModule(argument_spec={"store": {"type": "path", "default": "/srv/cloud"}, "path": {"type": "path"}}, supports_check_mode=True)
    path = module.params["path"] or os.path.join(module.params["store"], "glance")
    try:
        registry = open_registry(module.params, module.check_mode)
        glance = glance_api.Glance.here(path)
        with glance_api.alone():
            result = Feeder(glance, registry, lambda file: check_room(path, os.stat(file).st_blocks * 512), glance_api.unsafe, module.check_mode).run()
    except NotThere as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        module.exit_json(changed=True, actions=["upload all, when Glance is there"], ids={}, noted=[], left_out={}, kept={}, needed={})
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    for key, reason in result["left_out"].items():
        module.warn("%s is not in Glance: %s" % (key, reason))
    for key, users in result["kept"].items():
        module.warn("%s is no longer in the registry and stays in Glance, needed by %s" % (key, ", ".join(users)))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
