"""The Helm chart: `make deploy-check`, and that each check finds what it is for."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.config.inventory import load_pop
from tests.deploy import check, wide
from tests.deploy.chart import Item, names, template, values
from tests.deploy.generated import KAFKA, SCHEMA, kafka_json, schema_json
from tests.deploy.login import login
from tests.deploy.pods import references, restricted
from tests.deploy.tools import Tools, tools

pytestmark = [pytest.mark.services, pytest.mark.xdist_group("deploy")]

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def made() -> Tools:
    return tools()


@pytest.fixture(scope="module")
def two(made: Tools) -> list[Item]:
    """The objects of two PoPs."""
    return template(made.helms["helm4"], values(*names(2)))


def changed(items: list[Item], kind: str, name: str, change: Change) -> list[Item]:
    """The same objects, but one of them changed."""
    found = copy.deepcopy(items)
    change(next(item.document for item in found if item.document["kind"] == kind and item.name == name))
    return found


MISTAKES_OF_THE_LOGIN = {
    "proxies": ('proxies = ["127.0.0.1"]', 'proxies = ["127.0.0.2"]', "the view believes"),
    "upstream": ('uri: "http://127.0.0.1:6072"', 'uri: "http://127.0.0.1:6071"', "the proxy asks"),
    "secret": ("fromFile: /etc/login/proxy-secret", "fromFile: /etc/login/cookie-secret", "X-Autopilot-Proxy-Secret"),
    "header": ("name: X-Forwarded-User", "name: X-Forwarded-Email", "X-Forwarded-User"),
    "kept": ("preserveRequestValue: false", "preserveRequestValue: true", "is not replaced"),
    "groups": ('allowedGroups: ["netops"]', "allowedGroups: []", "every user"),
}
MISTAKES_OF_THE_SESSION = {
    "--cookie-name=__Host-autopilot": "--cookie-name=autopilot",
    "--cookie-samesite=lax": "--cookie-samesite=none",
    "--cookie-refresh=1m": "--cookie-refresh=0s",
    "--cookie-expire=12h": "--cookie-expire=168h",
    "--skip-provider-button": "--reverse-proxy",
}


def test_what_is_made_from_our_tables_is_current() -> None:
    assert kafka_json() == KAFKA.read_text(encoding="utf-8"), "run python -m tests.deploy.generated"
    written = SCHEMA.read_text(encoding="utf-8")
    assert written == schema_json(written), "run python -m tests.deploy.generated"


def test_nothing_is_wrong_with_the_chart(made: Tools) -> None:
    report = check.run(made)
    assert report.problems == []
    assert report.typos_planted == report.typos_refused > 500
    assert report.mistakes_refused == len(check.mistakes())
    assert set(report.kinds) >= {"StatefulSet", "KafkaTopic", "KafkaUser", "NetworkPolicy", "HTTPRoute", "Ingress"}


def test_a_schema_refuses_a_key_a_type_and_a_missing_key(made: Tools, two: list[Item]) -> None:
    schemas = check.Schemas(made)
    topic = next(item.document for item in two if item.document["kind"] == "KafkaTopic")
    kind = "kafka.strimzi.io/v1 KafkaTopic"
    assert schemas.problems(kind, topic) == []
    for spec, named in (({"partitons": 1}, "partitons"), ({"partitions": "1"}, "partitions")):
        assert named in str(schemas.problems(kind, topic | {"spec": topic["spec"] | spec}))
    assert schemas.problems(kind, {key: value for key, value in topic.items() if key != "metadata"})
    assert schemas.problems("v2 Pod", {}) == ["v2 Pod: no schema"]


def test_what_listens_on_loopback_is_found(two: list[Item]) -> None:
    def on_loopback(settings: dict[str, Any]) -> None:
        settings["data"]["autopilot.toml"] = settings["data"]["autopilot.toml"].replace("0.0.0.0", "127.0.0.1")

    items = changed(two, "ConfigMap", "autopilot-settings-pop000", on_loopback)
    assert list(check.loopback(two)) == []
    assert list(check.loopback(items)) == ["v1 ConfigMap autopilot-settings-pop000 names 127.0.0.1"]
    assert list(check.what_runs(items)) == ["autopilot-settings-pop000: http.listen is 127.0.0.1"]


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        ("KafkaUser", "autopilot-view", lambda user: user["spec"]["authorization"]["acls"].pop()),
        (
            "KafkaUser",
            "autopilot-view",
            lambda user: user["spec"]["authorization"]["acls"][0]["operations"].append("All"),
        ),
        ("KafkaUser", "autopilot-view", lambda user: user["metadata"].update(name="autopilot-root")),
        ("KafkaTopic", "bmp-pop001", lambda topic: topic["spec"].update(partitions=2)),
        ("KafkaTopic", "bmp-pop001", lambda topic: topic["spec"]["config"].update({"retention.ms": "1"})),
    ],
)
def test_rights_and_topics_that_are_not_ours_are_found(two: list[Item], kind: str, name: str, change: Change) -> None:
    cells = {pop: [pop] for pop in names(2)}
    assert list(check.what_we_say_ourselves(two, cells)) == []
    items = [item._replace(name=item.document["metadata"]["name"]) for item in changed(two, kind, name, change)]
    assert list(check.what_we_say_ourselves(items, cells))


def test_what_else_a_pop_changes_is_found(made: Tools, two: list[Item]) -> None:
    one = template(made.helms["helm4"], values(*names(1)))
    assert list(check.one_more_pop(one, two, "pop001")) == []
    name = "autopilot-telemetry-pop000"
    items = changed(two, "StatefulSet", name, lambda workers: workers["spec"].update(replicas=3))
    assert list(check.one_more_pop(one, items, "pop001")) == [f"apps/v1 StatefulSet {name} changes with one more PoP"]
    assert list(check.one_more_pop(two, one, "pop001"))
    assert list(check.one_more_pop(one, two, "pop002"))


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        ("KafkaNodePool", "autopilot-brokers", lambda pool: pool["spec"].update(replicas=1)),
        ("KafkaNodePool", "autopilot-brokers", lambda pool: pool["spec"]["storage"]["volumes"][0].update(size="10Gi")),
        (
            "StatefulSet",
            "autopilot-telemetry-pop000",
            lambda workers: workers["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"].update(
                cpu="10m"
            ),
        ),
    ],
)
def test_too_little_is_found(two: list[Item], kind: str, name: str, change: Change) -> None:
    assert list(check.sizes({2: two})) == []
    assert list(check.sizes({2: changed(two, kind, name, change)}))


@pytest.mark.parametrize(("before", "after", "named"), MISTAKES_OF_THE_LOGIN.values(), ids=MISTAKES_OF_THE_LOGIN.keys())
def test_a_login_that_believes_too_much_is_found(two: list[Item], before: str, after: str, named: str) -> None:
    def mistaken(settings: dict[str, Any]) -> None:
        data = {name: text.replace(before, after) for name, text in settings["data"].items()}
        assert data != settings["data"]
        settings["data"] = data

    assert list(login(two)) == []
    assert named in str(list(login(changed(two, "ConfigMap", "autopilot-view", mistaken))))


@pytest.mark.parametrize(("before", "after"), MISTAKES_OF_THE_SESSION.items())
def test_a_session_that_lasts_or_shows_too_much_is_found(two: list[Item], before: str, after: str) -> None:
    def mistaken(view: dict[str, Any]) -> None:
        arguments = view["spec"]["template"]["spec"]["containers"][1]["args"]
        arguments[arguments.index(before)] = after

    assert after.partition("=")[0] in str(list(login(changed(two, "Deployment", "autopilot-view", mistaken))))


def test_arguments_that_our_command_does_not_know_are_found(two: list[Item]) -> None:
    def misspelt(pod: dict[str, Any]) -> None:
        pod["spec"]["template"]["spec"]["containers"][0]["args"][1] = "--cel"

    assert list(check.what_runs(two)) == []
    assert "--cel" in str(list(check.what_runs(changed(two, "StatefulSet", "autopilot-actuator-pop001", misspelt))))


def test_a_large_inventory_is_right(tmp_path: Path) -> None:
    (tmp_path / "pop000.toml").write_text(wide.inventory("pop000", routers=40), encoding="utf-8")
    pop = load_pop(tmp_path / "pop000.toml")
    assert (len(pop.router), len(pop.link)) == (40, 40 * wide.LINKS)
    assert len({session.peer for link in pop.link for session in link.sessions}) > 150


def test_what_is_too_large_for_an_api_server_or_a_load_balancer_is_found(two: list[Item]) -> None:
    assert list(check.too_large(two)) == []
    large = changed(two, "ConfigMap", "autopilot-view", lambda files: files["data"].update(x="x" * 1024 * 1024))
    assert "ConfigMap autopilot-view has 1,0" in str(list(check.too_large(large)))
    name = "autopilot-sfacctd-pop000"
    ranges = changed(two, "Service", name, lambda it: it["spec"].update(loadBalancerSourceRanges=["192.0.2.1/32"]))
    assert list(check.too_large(ranges)) == [f"v1 Service {name} has a rule of the load balancer for each router"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda pod: pod["securityContext"].update(runAsNonRoot=False), "runAsNonRoot"),
        (lambda pod: pod["containers"][0].update(securityContext={}), "securityContext"),
        (lambda pod: pod["containers"][0]["resources"].update(limits={}), "limit of memory"),
        (lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "hostPath"),
        (lambda pod: pod.update(hostNetwork=True), "hostNetwork"),
        (lambda pod: pod.update(automountServiceAccountToken=True), "token"),
    ],
)
def test_pods_that_may_too_much_are_found(two: list[Item], change: Change, named: str) -> None:
    items = changed(two, "Deployment", "autopilot-view", lambda view: change(view["spec"]["template"]["spec"]))
    assert list(restricted(two)) == []
    assert named in str(list(restricted(items)))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Service", lambda service: service["spec"]["selector"].update(x="y")),
        ("Service", lambda service: service["spec"]["ports"][0].update(targetPort="x")),
        ("NetworkPolicy", lambda policy: policy["spec"]["ingress"][0]["ports"][0].update(port="x")),
        ("Deployment", lambda view: view["spec"]["template"]["spec"]["volumes"].pop()),
        ("Deployment", lambda view: view["spec"]["template"]["spec"]["containers"][0]["ports"].clear()),
        ("KafkaUser", lambda user: user.update(kind="Other")),
    ],
)
def test_what_points_at_nothing_is_found(two: list[Item], kind: str, change: Change) -> None:
    assert list(references(two, check.SECRETS)) == []
    assert list(references(changed(two, kind, "autopilot-view", change), check.SECRETS))


def test_alerts_on_metrics_that_nobody_has_are_found(two: list[Item]) -> None:
    def misspelt(rule: dict[str, Any]) -> None:
        rule["spec"]["groups"][0]["rules"][0]["expr"] = "autopilot_reaper_upp == 0"

    assert "autopilot_reaper_upp" in str(list(check.alerts(changed(two, "PrometheusRule", "autopilot", misspelt))))
