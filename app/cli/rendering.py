"""`autopilot render`: files and commands for the programs beside us, made from the inventory."""

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from app.cli import acls
from app.cli.options import pop_option, with_deployment
from app.config import endpoints
from app.config.collectors import collector_files
from app.config.inventory import Pop
from app.config.settings import Deployment, Kafka
from app.contract.identities import identities
from app.errors import ConfigError, EnvironmentProblem
from app.routers.router_files import PLATFORMS, Collector, router_files

PASSWORD_KEY, MODE_OF_SECRETS = "sasl.password", 0o600


@click.group()
def render() -> None:
    """Write files, or commands, for the programs beside us, from the inventory."""


OUT_OPTION = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default=True,
    help="Folder of the files; with several PoPs, each gets its own in it.",
)


@render.command("collectors")
@pop_option
@OUT_OPTION
@with_deployment
def render_collectors(deployment: Deployment, pop: str | None, out: Path) -> None:
    """Write whom sfacctd and pmbmpd should hear (sfacctd_allow_file, bmp_daemon_allow_file), and the lines of their
    configuration that name these files, the number of BMP peers, and a producer (kafka_config_file) that keeps the
    order of messages and reaches the broker as [kafka] says: with the same files, and with the password itself.
    """
    kafka = deployment.settings.kafka
    password = _password(kafka) if kafka.security == "sasl-scram" else None
    for path in write_files(deployment, pop, out, lambda of, folder: collector_files(of, folder, kafka, password)):
        click.echo(path)


def _password(kafka: Kafka) -> str | None:
    """The password that librdkafka, which reads no file for it, needs in its configuration."""
    from app.kafka.credentials import Unusable, load, read  # Kafka's client is slow to import

    try:
        return load(kafka, read(kafka)).password
    except Unusable as error:
        raise ConfigError([str(error)]) from None


@render.command("routers")
@click.option("--platform", type=click.Choice(list(PLATFORMS)), required=True, help="What the routers run.")
@click.option(
    "--bmp",
    metavar="ADDRESS:PORT",
    required=True,
    help="Where pmbmpd listens (bmp_daemon_ip and bmp_daemon_port).",
)
@pop_option
@OUT_OPTION
@with_deployment
def render_routers(deployment: Deployment, platform: str, bmp: str, pop: str | None, out: Path) -> None:
    """Write for each edge router what to add to its configuration (sessions, policies, limits, BMP), and the whole
    configuration of the gobgpd beside it.
    """
    collector = _collector(bmp)
    for path in write_files(deployment, pop, out, lambda of, _: router_files(of, platform, collector)):
        click.echo(path)


@render.command("acls")
@click.option(
    "--format",
    "form",
    type=click.Choice(["kafka", "strimzi"]),
    default="kafka",
    show_default=True,
    help="Commands for kafka-acls.sh, or KafkaUsers of Strimzi.",
)
@click.option("--cluster", help="With strimzi: the name of the Kafka object.")
@click.option(
    "--principal",
    metavar="TEMPLATE",
    help="With kafka: what the brokers call a client, with NAME in it (default: User:CN=NAME, the subject of its"
    " certificate, or User:NAME with sasl-scram).",
)
@with_deployment
def render_acls(deployment: Deployment, form: str, cluster: str | None, principal: str | None) -> None:
    """Print who may do what at the broker: an identity for each collector of a PoP, each worker of a cell, the view,
    the command line, and whoever reads our outputs, each with all that it needs and no more.
    """
    kafka, wanted = deployment.settings.kafka, identities(deployment.cells)
    by_password = kafka.security == "sasl-scram"
    if form == "kafka":
        template = principal or f"User:{'' if by_password else 'CN='}{acls.NAME}"
        if acls.NAME not in template:
            raise click.BadParameter(f"{template!r} has no {acls.NAME} in it", param_hint="--principal")
        click.echo("\n".join(acls.commands(wanted, kafka.broker, template)))
        return
    if cluster is None:
        raise click.UsageError("--format strimzi needs --cluster, the name of the Kafka object")
    try:
        users = acls.kafka_users(wanted, cluster, "scram-sha-512" if by_password else "tls")
        click.echo("".join(users), nl=False)
    except ValueError as error:
        raise ConfigError([str(error)]) from None


def _collector(listens: str) -> Collector:
    try:
        address, _, port = endpoints.host_port(listens, "write ADDRESS:PORT or [IPV6]:PORT").rpartition(":")
        ipaddress.ip_address(address := address.strip("[]"))
    except ValueError as error:
        text = str(error) if str(error).startswith(("is ", "has ")) else "has a name; write the digits of its address"
        raise click.BadParameter(f"{listens!r} {text}", param_hint="--bmp") from None
    return Collector(address, int(port))


def write_files(
    deployment: Deployment, pop: str | None, out: Path, render: Callable[[Pop, Path], Mapping[str, str]]
) -> list[Path]:
    """Write what `render` makes of each of these PoPs, file by file, and return their paths.

    A single PoP's are in `out` itself, else those of each PoP are in a folder with its name. EnvironmentProblem if a
    file cannot be written.
    """
    from app.cli.show import chosen  # Kafka's client is slow to import

    names = chosen(deployment, pop)
    written = []
    for name in names:
        folder = (out if len(names) == 1 else out / name).absolute()
        try:
            files = render(deployment.pops[name], folder)
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in files.items():
                path = folder / file
                path.touch()
                path.chmod(MODE_OF_SECRETS if PASSWORD_KEY in text else path.stat().st_mode)
                path.write_text(text, encoding="utf-8")
                written.append(path)
        except ValueError as error:
            raise ConfigError([f"{name}: {error}"]) from None
        except OSError as error:
            raise EnvironmentProblem(f"{folder}: {error.strerror}; choose another --out") from None
    return written
