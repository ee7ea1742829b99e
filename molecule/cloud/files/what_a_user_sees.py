"""What a user of the cloud is shown, with the login of the environment."""

import json

import openstack

cloud = openstack.connect()
print(json.dumps({
    "projects": sorted(project.name for project in cloud.identity.user_projects(cloud.current_user_id)),
    "keys": sorted(key.name for key in cloud.compute.keypairs()),
    "groups": {group.name: len(group.security_group_rules) for group in cloud.network.security_groups(project_id=cloud.current_project_id)},
    "instances": cloud.compute.get_limits().absolute.instances,
    "floating addresses": cloud.network.get_quota(cloud.current_project_id).floating_ips,
}))
