"""Stories of what goes wrong: the path is lost, a daemon restarts, a router does not follow."""

from itertools import pairwise

import msgspec

from tests.app.actuation.pop import POP, PREFIX, override
from tests.app.actuation.story import Story
from tests.app.actuation.test_story_moves import TO_ET2


async def standing() -> Story:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    assert story.holding() == TO_ET2
    return story


# the source path


async def test_a_withdrawn_source_path_takes_the_override_off_every_router_in_one_round() -> None:
    story = await standing()
    story.gone(2)
    assert sorted(await story.step()) == [f"{router} - {PREFIX}" for router in ("r1", "r2", "r3")]
    assert story.told("withdrawn") == [(router, "source-path-lost") for router in ("r1", "r2", "r3")]
    story.echo()
    await story.step()
    assert story.reconciler.overrides.entries == {}


async def test_a_lost_session_takes_all_its_overrides() -> None:
    prefixes = [f"203.0.{number}.0/24" for number in range(40)]
    story = Story(prefixes=prefixes)
    story.decide(*(override(prefix) for prefix in prefixes))
    await story.settle()
    story.down(2)
    await story.step()
    assert not any(speaker.held for speaker in story.speakers.values())


async def test_graceful_shutdown_is_a_loss() -> None:
    story = await standing()
    story.up(2, communities=("65535:0",))
    await story.step()
    assert story.holding() == {}


async def test_the_loss_of_another_path_is_none_of_its_business() -> None:
    story = await standing()
    story.gone(1)
    story.down(3)
    assert await story.settle() == []


async def test_the_same_next_hop_from_another_peer_does_not_stand_in() -> None:
    story = await standing()
    own = next(iter(path for path in story.rib.paths("r1", PREFIX).values() if path.next_hop == "198.51.100.2"))
    story.rib.update("r1", PREFIX, msgspec.structs.replace(own, peer="127.0.0.31"))
    story.gone(2)
    await story.step()
    assert story.holding() == {}


async def test_a_decision_made_before_the_loss_does_not_put_it_back_even_when_the_path_is_back() -> None:
    story = await standing()
    story.gone(2)
    await story.settle()
    story.clock.advance(1)
    story.decide(override(exit=2), age_s=2)
    assert await story.settle() == []
    story.up(2)
    story.decide(override(exit=2), age_s=2)
    assert await story.settle() == []
    assert story.told("refused")[-1] == ("r1", "older-than-path-loss")


async def test_it_comes_back_by_a_newer_decision_once_the_path_is_live_and_stayed_away_for_a_while() -> None:
    story = await standing()
    story.gone(2)
    await story.settle()
    await story.wait(5)
    story.decide(override(exit=2))
    assert await story.settle() == []
    story.up(2)
    story.decide(override(exit=2))
    assert await story.settle() == []
    assert story.told("refused") == [("r1", "source-path-not-live"), ("r1", "damped")]
    assert await story.wait(25) == []  # nobody decides it anew by itself
    story.decide(override(exit=2))
    await story.settle()
    assert story.holding() == TO_ET2


async def test_a_loss_between_exit_and_others_stops_the_others() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.step()
    story.gone(2)
    story.echo()
    assert await story.settle() == [f"r1 - {PREFIX}"]


async def test_a_loss_while_it_is_being_released_goes_at_once_too() -> None:
    story = await standing()
    story.decide(released=[PREFIX])
    story.gone(2)
    assert len(await story.step()) == 3


async def test_a_move_whose_old_path_dies_keeps_only_what_leads_out() -> None:
    story = await standing()
    story.decide(override(exit=3))
    await story.step()
    story.gone(2)
    assert sorted(await story.step()) == [f"r1 - {PREFIX}", f"r3 - {PREFIX}"]
    await story.settle()
    assert story.holding() == {"r1": "192.0.2.12", "r2": "198.51.100.3", "r3": "192.0.2.12"}


async def test_a_move_whose_new_path_dies_takes_the_old_exit_last() -> None:
    story = await standing()
    story.decide(override(exit=3))
    story.gone(3)
    assert sorted(await story.step()) == [f"r2 - {PREFIX}", f"r3 - {PREFIX}"]
    story.echo()
    assert await story.step() == [f"r1 - {PREFIX}"]


# daemons and routers


async def test_a_restarted_gobgpd_is_filled_again() -> None:
    story = await standing()
    story.lose_speaker("r3")
    await story.wait(3)
    assert story.holding() == TO_ET2
    assert story.told("drift") == [("r3", "missing")]
    assert story.told("announced")[-1] == ("r3", "repaired")


async def test_when_the_exits_gobgpd_restarts_the_others_go_first_and_come_back_after_it() -> None:
    story = await standing()
    story.lose_speaker("r1")
    assert sorted(await story.step()) == [f"r2 - {PREFIX}", f"r3 - {PREFIX}"]
    assert story.told("withdrawn") == [("r2", "exit-not-shown"), ("r3", "exit-not-shown")]
    story.echo()
    done = await story.wait(3)
    assert done[0] == f"r1 + {PREFIX} > 198.51.100.2"
    assert story.holding() == TO_ET2


async def test_a_route_of_ours_that_nobody_put_there_goes_after_a_hold() -> None:
    story = await standing()
    stray = msgspec.structs.replace(story.speakers["r1"].held[PREFIX], prefix="203.0.0.0/24")
    story.up(2, ["203.0.0.0/24"])
    story.speakers["r1"].held["203.0.0.0/24"] = stray
    story.echo()
    await story.wait(5)
    assert story.told("drift", "203.0.0.0/24") == [("r1", "added by somebody else")]
    await story.wait(240)
    assert story.holding("203.0.0.0/24") == {"r1": "198.51.100.2"}
    await story.wait(46)
    assert story.holding("203.0.0.0/24") == {}


async def test_a_changed_attribute_is_put_right() -> None:
    story = await standing()
    speaker = story.speakers["r2"]
    speaker.held[PREFIX] = msgspec.structs.replace(speaker.held[PREFIX], local_pref=50)
    await story.wait(3)
    assert speaker.held[PREFIX].local_pref == 1000
    assert story.told("drift") == [("r2", "changed by somebody else")]


async def test_a_router_that_does_not_show_it_loses_the_whole_move_and_gets_no_new_ones_for_a_while() -> None:
    story = Story(prefixes=[PREFIX, "203.0.0.0/24"])
    story.mute.add("r3")
    story.decide(override(exit=2))
    await story.wait(20)
    assert story.holding() == TO_ET2
    await story.wait(45)
    assert story.holding() == {}
    assert ("r1", "not-confirmed") in story.told("withdrawn")
    story.decide(override("203.0.0.0/24"))
    assert await story.settle() == []
    assert story.told("refused", "203.0.0.0/24") == [("r3", "router-not-confirmed")]
    story.mute.clear()
    await story.wait(60)
    story.decide(override("203.0.0.0/24"))
    await story.settle()
    assert story.holding("203.0.0.0/24") == TO_ET2


async def test_no_move_starts_where_a_speaker_or_its_session_is_down() -> None:
    story = Story()
    story.speakers["r2"].down = True
    await story.wait(3)
    story.decide(override(exit=2))
    story.speakers["r2"].down = False
    await story.wait(3)
    story.rib.peer_down("r3", POP.routers["r3"].injector.address)
    story.decide(override(exit=2))
    assert await story.settle() == []
    assert story.told("refused") == [("r2", "speaker-unreachable"), ("r3", "injector-session-down")]


async def test_a_speaker_that_cannot_be_reached_keeps_its_exit_until_it_can() -> None:
    story = await standing()
    story.speakers["r2"].down = True
    await story.wait(3)
    story.decide(released=[PREFIX])
    await story.wait(60)
    assert story.holding() == {"r1": "198.51.100.2", "r2": "192.0.2.11"}
    story.speakers["r2"].down = False
    await story.wait(3)
    assert story.holding() == {}


async def test_what_unwinds_is_not_repaired() -> None:
    story = await standing()
    story.mute.add("r1")
    await story.wait(291)
    story.lose_speaker("r1")
    story.lose_speaker("r3")
    await story.wait(5)
    assert story.holding().keys() <= {"r2"}


async def test_a_gobgpd_that_was_away_is_filled_again_and_the_others_stay() -> None:
    """However long it was away, as long as decisions want it; while it is, nothing leaves the others."""
    story = await standing()
    address = POP.routers["r3"].injector.address
    story.lose_speaker("r3")
    story.speakers["r3"].down = True
    story.rib.peer_down("r3", address)
    for _ in range(9):
        story.decide(override(exit=2))
        assert await story.wait(10) == []
    story.speakers["r3"].down = False
    story.rib.peer_up("r3", address, POP.asn)
    assert await story.wait(5) == [f"r3 + {PREFIX} > 192.0.2.11"]
    story.decide(override(exit=2))
    assert await story.wait(60) == []
    assert story.holding() == TO_ET2


async def test_a_path_that_flaps_is_damped_twice_as_long_each_time() -> None:
    story = Story()
    rounds = []
    for second in range(700):
        story.gone(2) if second % 2 else story.up(2)
        if second % 10 == 0:
            story.decide(override(exit=2))
        if any(line.startswith("r1 +") for line in await story.wait(1)):
            rounds.append(second)
    assert [later - earlier for earlier, later in pairwise(rounds)] == [40, 70, 130, 250], "30, 60, 120 and 240 s"


async def test_a_path_that_the_router_takes_back_from_its_gobgpd_is_lost_without_bmp() -> None:
    story = await standing()
    story.ready = False
    story.reconciler.sent_by("r1", [PREFIX], {PREFIX: frozenset({"198.51.100.2"})})
    assert await story.step() == []
    story.reconciler.sent_by("r1", [PREFIX], {})
    assert await story.step() == [], "unknown is not lost"
    story.reconciler.sent_by("r1", [PREFIX], {PREFIX: frozenset({"198.51.100.1"})})
    assert sorted(await story.step()) == [f"{router} - {PREFIX}" for router in ("r1", "r2", "r3")]
    assert ("r1", "source-path-lost") in story.told("withdrawn")


async def test_after_both_witnesses_differ_the_one_that_says_lost_is_believed() -> None:
    story = await standing()
    story.reconciler.sent_by("r1", [PREFIX], {PREFIX: frozenset()})
    await story.step()
    assert story.holding() == {}
    await story.wait(31)
    story.decide(override(exit=2))
    assert story.told("refused")[-1] == ("r1", "source-path-not-live")
