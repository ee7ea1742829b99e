# Ansible manages this file: changes here are lost.
SECRET_KEY = "{{ lookup('our.cloud.secret', 'page') }}"
ALLOWED_HOSTS = {{ (clc__names + ['127.0.0.1']) | to_json }}
OPENSTACK_HOST = "{{ cloud_clc_address }}"
OPENSTACK_KEYSTONE_URL = "{{ cloud_identity_url }}"
OPENSTACK_SSL_CACERT = "{{ cloud_ca_file }}"
OPENSTACK_ENDPOINT_TYPE = "internalURL"
OPENSTACK_KEYSTONE_DEFAULT_ROLE = "member"
OPENSTACK_API_VERSIONS = {"identity": 3, "image": 2, "volume": 3}
# In the browser, signed: neither a memcached that is away nor a restart ends it.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONSOLE_TYPE = "{{ 'AUTO' if clc_vnc | bool else 'SERIAL' }}"
OPENSTACK_NEUTRON_NETWORK = {"enable_router": True, "enable_quotas": True, "enable_ipv6": False, "enable_ha_router": False, "enable_fip_topology_check": True}
TIME_ZONE = "UTC"
