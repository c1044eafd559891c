"""What the balena supervisor accepts of a compose file of version 2.4, as its reference tells."""

from typing import Any

TEXTS = {"type": "array", "items": {"type": "string"}}
#: no options after a second colon, no path of the host
VOLUME = {"type": "string", "pattern": "^[a-z][a-z0-9_-]*:/[^:]*$"}
#: the supervisor takes the whole text as a path
TMPFS = {"type": "string", "pattern": "^/[^:]*$"}
FEATURES = (
    "balena-socket dbus sysfs procfs kernel-modules firmware journal-logs extra-firmware supervisor-api balena-api"
)

SERVICE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "build": {"type": ["string", "object"]},
        "image": {"type": "string"},
        "command": {"type": ["string", "array"]},
        "depends_on": TEXTS,
        "devices": TEXTS,
        "cap_add": TEXTS,
        "cap_drop": TEXTS,
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "healthcheck": {"type": "object"},
        "hostname": {"type": "string"},
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "propertyNames": {"enum": [f"io.balena.features.{name}" for name in FEATURES.split()]},
        },
        "mem_limit": {"type": ["string", "integer"]},
        "network_mode": {"type": "string", "pattern": "^(bridge|host|none|service:[a-z-]+)$"},
        "networks": TEXTS,
        "ports": {"type": "array", "items": {"type": "string", "pattern": "^[0-9]+:[0-9]+$"}},
        "privileged": {"const": False},
        "read_only": {"type": "boolean"},
        "restart": {"enum": ["always", "unless-stopped", "on-failure", "no"]},
        "security_opt": TEXTS,
        "shm_size": {"type": "string"},
        "stop_grace_period": {"type": "string", "pattern": "^[0-9]+s$"},
        "sysctls": {"type": "object"},
        "tmpfs": {"type": "array", "items": TMPFS},
        "ulimits": {"type": "object"},
        "user": {"type": "string"},
        "volumes": {"type": "array", "items": VOLUME},
    },
}
COMPOSE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "services"],
    "properties": {
        "version": {"const": "2.4"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
        "networks": {"type": "object", "additionalProperties": {"type": "null"}},
    },
}
VARIABLES = {"type": "array", "items": {"type": "object", "minProperties": 1, "maxProperties": 1}}
#: balena.yml, for the deploy button
DESCRIPTION: dict[str, Any] = {
    "type": "object",
    "required": ["name", "type", "version", "data"],
    "properties": {
        "type": {"const": "sw.application"},
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "data": {
            "type": "object",
            "required": ["defaultDeviceType", "supportedDeviceTypes"],
            "properties": {
                "applicationEnvironmentVariables": VARIABLES,
                "applicationConfigVariables": VARIABLES,
                "supportedDeviceTypes": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            },
        },
    },
}
