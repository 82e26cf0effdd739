"""A broker that lets in only clients with a certificate, each of which may do what its identity needs and no more.

The certificates are made for one run, and lie in its directory. A private key can be read only by the user of its
process: the daemons' own, or ourselves.
"""

import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from app import private_names
from app.config.settings import Kafka
from app.contract.identities import OF_A_POP, identities
from app.errors import DaemonError
from app.kafka import client
from app.lab.daemons.certificates import DAYS, Authority
from app.lab.daemons.machine import Site

BROKER, ADMIN = "broker", "admin"  # who may do everything
PLACES = ("localhost", "127.0.0.1")
ANY_HOST = "*"
# As Kafka's protocol numbers them.
RESOURCES = {"topic": 2, "group": 3}
LITERAL, PREFIXED = 3, 4
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
ALLOW = 3
PROPERTIES = """
listener.security.protocol.map=BROKER:SSL,CONTROLLER:SSL
ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:CN={broker};User:CN={admin}
"""


class Guard:
    """The CA of one run, and the identities that it vouches for; `cells` are the PoPs by cell."""

    def __init__(self, site: Site, cells: Mapping[str, Collection[str]]) -> None:
        self._identities = identities(cells)
        self._site = site
        self._ca = Authority("autopilot-run")
        self._folder = site.make_folder("tls")
        self._trusted = site.write("tls/ca.crt", self._ca.certificate)
        self._daemons = {BROKER, *(each.name for each in self._identities if each.component in OF_A_POP)}
        for name in (*(each.name for each in self._identities), ADMIN):
            self.renew(name)

    def renew(self, name: str, days: float = DAYS) -> None:
        """Give an identity another certificate and key, in place of those that it has."""
        issued = self._ca.issue(name, days=days)
        self._write(f"{name}.key", issued.key, name)
        self._write(f"{name}.crt", issued.certificate, name)

    def properties(self) -> str:
        """What turns the broker of the site, by properties that come after its own, into a guarded one."""
        keystore = self._write(f"{BROKER}.pem", "".join(self._ca.issue(BROKER, PLACES)), BROKER)
        return PROPERTIES.format(keystore=keystore, truststore=self._trusted, broker=BROKER, admin=ADMIN)

    def keys(self, name: str) -> dict[str, Any]:
        """What stands in `[kafka]` for this identity, or for ADMIN."""
        files = {"cert_file": f"{name}.crt", "key_file": f"{name}.key", "ca_file": self._trusted.name}
        paths = {key: str(self._folder / file) for key, file in files.items()}
        return {"broker": f"127.0.0.1:{self._site.ports.kafka}", "replication_factor": 1, "security": "mtls"} | paths

    def kafka(self, name: str) -> Kafka:
        """The settings with which it reaches the broker."""
        return Kafka(**self.keys(name))

    async def give_rights(self) -> None:
        """Let each identity do what it needs; DaemonError if the broker refuses."""
        async with client.started(client.admin(self.kafka(ADMIN))) as admin:
            for request in self._requests():
                [(code, text)] = (await private_names.send_request(admin, request)).creation_responses
                if code:
                    raise DaemonError(f"the broker takes no ACL: {for_code(code).__name__} {text or ''}")

    def _requests(self) -> Iterator[CreateAclsRequest]:
        for identity in self._identities:
            for right in identity.rights:
                pattern = PREFIXED if right.prefixed else LITERAL
                of = RESOURCES[right.resource], right.name, pattern, f"User:CN={identity.name}", ANY_HOST
                yield from (CreateAclsRequest(*of, OPERATIONS[operation], ALLOW) for operation in right.operations)

    def _write(self, file: str, text: str, name: str) -> Path:
        """Write a file that only the user of this identity can read."""
        path, new = self._folder / file, self._folder / f"{file}.new"
        new.touch(mode=0o600)
        new.write_text(text, encoding="utf-8")
        if self._site.user and name in self._daemons:
            shutil.chown(new, self._site.user)
        return new.replace(path)
