"""Open vSwitch as forwarding plane and sFlow agent of an edge: userspace datapath, database and sockets of its own."""

from collections.abc import Mapping, Sequence

from app.lab.daemons.commands import output
from app.lab.daemons.machine import Site
from app.lab.daemons.runner import Program, Runner
from tests.foreign.host import ip, tool

BRIDGE = "br0"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PRIORITY = 100


class Switch:
    """A running switch. Its own (`internal`) ports are new interfaces; the others exist already."""

    def __init__(self, site: Site, internal: Sequence[str], others: Sequence[str]) -> None:
        self._directory = site.path("ovs")
        self._database = self._directory / "db.sock"
        self._internal = internal
        self._ports = {name: number for number, name in enumerate((*internal, *others), 1)}

    async def start(self, runner: Runner) -> None:
        """Start database and switch, and create the bridge with its ports, all up."""
        self._directory.mkdir()
        database = self._directory / "conf.db"
        # Debian's own switch, if any, has its files elsewhere.
        env = {name: str(self._directory) for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")}

        async def answers() -> str | None:
            return None if self._database.exists() else f"{self._database} does not exist yet"

        await output(tool("ovsdb-tool"), "create", str(database), SCHEMA)
        argv = [tool("ovsdb-server"), str(database), f"--remote=punix:{self._database}", self._control("ovsdb-server")]
        await runner.start(Program(name="ovsdb-server", argv=argv, env=env, keeps_user=True), answers)
        await self._configure("--no-wait", "init")
        argv = [tool("ovs-vswitchd"), f"unix:{self._database}", self._control("ovs-vswitchd")]
        await runner.start(Program(name="ovs-vswitchd", argv=argv, env=env, keeps_user=True))
        # Without `secure` it would switch like an ordinary bridge until it has flows.
        bridge = ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure"]
        for name, number in self._ports.items():
            kind = ["type=internal"] if name in self._internal else []
            bridge += ["--", "add-port", BRIDGE, name]
            bridge += ["--", "set", "interface", name, f"ofport_request={number}", *kind]
        await self._configure(*bridge)
        await ip(*(f"link set {name} up" for name in (BRIDGE, *self._internal)))

    async def export_sflow(self, agent: str, collector: str, sampling: int, polling_s: int) -> None:
        """Send sFlow to `host:port`: one of `sampling` packets, and counters every `polling_s` seconds."""
        await ip(f"addr add {agent}/32 dev {BRIDGE}")
        settings = [f"agent={BRIDGE}", f'target="{collector}"', f"sampling={sampling}", f"polling={polling_s}"]
        await self._configure(
            "--", "--id=@sflow", "create", "sflow", *settings, "--", "set", "bridge", BRIDGE, "sflow=@sflow"
        )

    async def forward(self, ports: Mapping[str, str | None]) -> None:
        """Send packets to each prefix out of its port from now on, or nowhere if that is None."""
        lines = []
        for prefix, port in ports.items():
            length = int(prefix.partition("/")[2])
            match = f"priority={PRIORITY + length},{'ipv6,ipv6_dst' if ':' in prefix else 'ip,nw_dst'}={prefix}"
            lines.append(
                f"delete_strict {match}" if port is None else f"add {match},actions=output:{self._ports[port]}"
            )
        flows = self._directory / "flows"
        flows.write_text("".join(f"{line}\n" for line in lines))
        await output(tool("ovs-ofctl"), "--bundle", "add-flows", f"unix:{self._directory / BRIDGE}.mgmt", str(flows))

    async def _configure(self, *arguments: str) -> None:
        await output(tool("ovs-vsctl"), f"--db=unix:{self._database}", *arguments)

    def _control(self, daemon: str) -> str:
        return f"--unixctl={self._directory / daemon}.ctl"
