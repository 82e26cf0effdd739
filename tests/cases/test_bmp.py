"""The cases of BMP, each on the real routes agent, natural routing and decision; see data/NN-name/expected.md."""

from typing import Any

import msgspec
import pytest

from app.actuation.admission import refusal
from app.config.inventory import Pop
from app.contract.schemas import Exit, NaturalExit, Override, SourcePath
from tests.cases.bmp import Bmp, case_pop, folder, records_of
from tests.cases.wire import bmp_lines, read_hex
from tests.integration.test_long_as_path import takes_paths_of
from tests.pops import demo_pop

LINKS = {number: f"rhv1000/r1/et-0/0/{number}" for number in (1, 2, 3)}


def case(number: int) -> Bmp:
    return Bmp(records_of(folder(number)))


def test_20_a_vrf_session_with_the_same_address_goes_down() -> None:
    bmp = case(20)
    assert bmp.peers() == ["127.0.0.31"]
    assert [path.next_hop for path in bmp.paths()] == ["198.51.100.1"]
    assert bmp.targets() == [LINKS[1]]
    assert bmp.letters == []


def test_21_other_ribs_beside_the_post_policy_adj_rib_in() -> None:
    bmp = case(21)
    assert bmp.peers() == ["127.0.0.31"]
    assert bmp.targets() == [LINKS[1]]
    assert [bmp.paths(f"20.0.{third}.0/24") for third in (1, 2, 3)] == [[], [], []]
    assert bmp.letters == []


def test_22_an_update_that_cannot_be_read_withdraws_the_path_that_it_replaces() -> None:
    bmp = case(22)
    assert [path.next_hop for path in bmp.paths()] == ["198.51.100.2"]
    assert bmp.natural_link() == LINKS[2]
    assert bmp.targets() == [LINKS[2]]
    [letter] = bmp.letters
    assert "treated as a withdraw of 20.0.0.0/24 by 127.0.0.31" in letter
    assert "bgp_nexthop is empty" in letter


def test_24_a_confederation_counts_as_none() -> None:
    bmp = case(24)
    assert [path.length for path in bmp.paths()] == [2, 3]
    assert bmp.natural_link() == LINKS[1]
    assert bmp.targets() == [LINKS[2]], "the path through the confederation is not copied"


def test_25_add_path_identifiers() -> None:
    bmp = case(25)
    assert [(path.path_id, path.as_path) for path in bmp.paths()] == [(2, (64601, 65009))]
    assert bmp.targets() == [LINKS[1]]


def test_26_communities_as_words_and_numbers() -> None:
    bmp = case(26)
    [path] = bmp.paths()
    assert {"internet", "64512:20", "65535:0", "no-export", "65535:65284"} < set(path.communities)
    assert bmp.targets() == []
    assert bmp.letters == []


def test_27_a_link_local_next_hop_is_read_and_no_target() -> None:
    bmp = case(27)
    known, unknown = "2001:db8:9::/48", "2001:db8:a::/48"
    assert [path.next_hop for path in (*bmp.paths(known), *bmp.paths(unknown))] == ["fe80::1", "fe80::1"]
    assert (bmp.natural_link(known), bmp.natural_link(unknown)) == (LINKS[1], None)
    assert bmp.targets(known) == bmp.targets(unknown) == []
    assert bmp.letters == []


def test_27_not_even_if_the_inventory_has_it_as_a_next_hop() -> None:
    links = list(case_pop().link)
    session = links[0].sessions[0]
    session = msgspec.structs.replace(session, next_hops=(*session.next_hops, "fe80::1"))
    links[0] = msgspec.structs.replace(links[0], sessions=(session,))
    bmp = Bmp(records_of(folder(27)), msgspec.structs.replace(case_pop(), link=tuple(links)))
    assert bmp.targets("2001:db8:9::/48") == []


def test_30_the_paths_of_a_session_that_ended_an_hour_ago_are_no_targets() -> None:
    bmp = case(30)
    assert bmp.paths() != [], "what is moved already keeps its path for a while"
    assert bmp.targets() == []
    assert "r1" in bmp.doubtful()
    assert "its BMP session has ended" in bmp.notices()["bmp-silent", "r1"]


def test_31_big_as_numbers_arrays_empty_paths_and_default_routes() -> None:
    bmp = case(31)
    prefixes = [*(f"20.0.{third}.0/24" for third in (2, 3, 4)), "0.0.0.0/0", "::/0"]
    assert [path.as_path for prefix in prefixes for path in bmp.paths(prefix)] == [
        (64602, 4200000001),
        (64601, 4294967295),
        (),
        (64601,),
        (64601,),
    ]
    assert [bmp.targets(prefix) for prefix in prefixes] == [[LINKS[1]], [LINKS[1]], [], [], []]
    assert bmp.letters == []


def test_33_an_initiation_message_again_is_information() -> None:
    bmp = case(33)
    assert bmp.peers() == ["127.0.0.31"]
    assert [len(bmp.paths(prefix)) for prefix in ("20.0.0.0/24", "20.0.1.0/24")] == [1, 1]
    assert bmp.targets() == [LINKS[1]]
    assert bmp.kinds() == set()


def test_35_two_collectors_make_one_table() -> None:
    bmp = case(35)
    assert bmp.peers() == ["127.0.0.31"]
    for third in range(3):
        assert bmp.targets(f"20.0.{third}.0/24") == [LINKS[1]]
    assert bmp.kinds() == set()


def test_36_another_as_than_in_the_inventory_is_named_and_no_target() -> None:
    bmp = case(36)
    assert len(bmp.paths()) == 1
    assert bmp.targets() == []
    text = bmp.notices()["wrong-as", "r1 127.0.0.31"]
    assert "is AS 64699, but the inventory says AS 64601" in text


def only_r1_here() -> Pop:
    pop = demo_pop()
    r1, r2 = pop.router
    return msgspec.structs.replace(pop, router=(r1, msgspec.structs.replace(r2, bmp_address=None)))


@pytest.mark.services
async def test_38_a_session_without_a_name_is_known_by_its_address() -> None:
    lines = await bmp_lines(read_hex(folder(38) / "input.hex").values())
    assert any(b'"bmp_init_info_sysname": null' in line for line in lines)
    ended = [line for line in lines if b"log_close" in line]
    bmp = Bmp([line for line in lines if line not in ended], only_r1_here())
    assert bmp.letters == []
    assert bmp.peers() == ["127.0.0.31"]
    assert bmp.doubtful() == {"r2"}, "the session has begun as with a known name"
    assert bmp.targets() == [LINKS[1]]
    bmp.feed(ended)
    assert bmp.doubtful() == {"r1"}


def parameters_of_45() -> dict[str, Any]:
    parameters: dict[str, Any] = msgspec.json.decode((folder(45) / "input.json").read_bytes())
    return parameters


@pytest.mark.services
async def test_45_a_long_as_path_resets_no_session() -> None:
    await takes_paths_of("r2", parameters_of_45()["numbers"])


def test_45_a_long_as_path_is_refused_by_both_guards() -> None:
    parameters = parameters_of_45()
    numbers = (parameters["first"], *[parameters["prepended"]] * (parameters["numbers"] - 1))
    prefix = parameters["prefix"]
    line = {**records_of(folder(22))[4], "ip_prefix": prefix, "as_path": " ".join(map(str, numbers))}
    bmp = Bmp([*records_of(folder(22))[:3], line])
    assert [path.length for path in bmp.paths(prefix)] == [256]
    assert bmp.targets(prefix) == []
    override = Override(
        prefix=prefix,
        exit=Exit("r1", LINKS[2], "127.0.0.32", "198.51.100.2"),
        inject_on=("r1", "r2"),
        natural=(NaturalExit("r1", LINKS[1], 1.0),),
        source_path=SourcePath(numbers, "igp"),
        bps=1e9,
        reason="a test",
    )
    assert refusal(bmp.pop, override) == "as-path-too-long"
    assert refusal(bmp.pop, msgspec.structs.replace(override, source_path=SourcePath(numbers[:64], "igp"))) is None
