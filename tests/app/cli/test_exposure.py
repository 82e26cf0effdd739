"""What a gobgpd opens, by its own command line."""

import pytest

from app.cli.exposure import also_opens

QUIET = ("-f", "injector.toml", "--pprof-disable")


@pytest.mark.parametrize(
    "arguments",
    [
        (),  # its process cannot be seen
        (*QUIET, "--api-hosts", "unix:///run/s"),
        (*QUIET, "--api-hosts=unix:///run/s"),
        (*QUIET, "--api-hosts", ":50051", "--api-hosts", "unix:///run/s"),  # the last one counts
        (*QUIET, "--api-hosts=unix:///run/s,:50051", "--tls", "--tls-client-ca-file=ca.crt"),
    ],
)
def test_a_socket_is_all(arguments: tuple[str, ...]) -> None:
    assert also_opens(arguments) is None


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ((*QUIET, "--api-hosts", "unix:///run/s,:50051"), "its gRPC at :50051, where whoever reaches it"),
        ((*QUIET, "--api-hosts=10.0.0.1:1,unix:///s,[::]:2"), "its gRPC at 10.0.0.1:1 and [::]:2, where"),
        ((*QUIET, "--tls", "--api-hosts=unix:///s,:1"), "its gRPC at :1, where"),  # GoBGP 3 lets in everybody
        (("--api-hosts=unix:///s",), "its profile at localhost:6060: start it with --pprof-disable"),
        (("--api-hosts=unix:///s", "--pprof-host", ":7"), "its profile at :7"),
    ],
)
def test_what_is_open_beside_it_is_said(arguments: tuple[str, ...], more: str) -> None:
    assert (also_opens(arguments) or "").startswith(more)
