"""Stories of what goes wrong: the path is lost, a daemon restarts, a router does not follow, the actuator is new."""

import msgspec

from app.bgp.core import Timing
from app.schemas import SourcePath
from tests.app.bgp.pop import POP, PREFIX, override
from tests.app.bgp.story import Story
from tests.app.bgp.test_story_moves import TO_ET2


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
    assert story.core.books.entries == {}


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
    assert story.told("refused") == [("r1", "older-than-path-loss")]


async def test_it_comes_back_by_a_newer_decision_once_the_path_is_live() -> None:
    story = await standing()
    story.gone(2)
    await story.settle()
    await story.wait(5)
    story.decide(override(exit=2))
    assert await story.settle() == []
    assert story.told("refused") == [("r1", "source-path-not-live")]
    story.up(2)
    assert await story.settle() == []  # nobody decides it anew by itself
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
    await story.wait(290)
    assert story.holding("203.0.0.0/24") == {"r1": "198.51.100.2"}
    await story.wait(15)
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
    assert story.told("refused", "203.0.0.0/24") == [("r1", "router-not-confirmed")]
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
    assert story.told("refused") == [("r1", "speaker-unreachable"), ("r1", "injector-session-down")]


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


# starts


async def test_nothing_moves_before_bmp_was_read_and_all_of_it_after() -> None:
    story = Story()
    story.ready = False
    story.decide(override(exit=2))
    assert await story.wait(25) == []
    story.ready = True
    await story.wait(2)
    assert story.holding() == TO_ET2


async def test_while_bmp_is_read_again_nothing_is_taken_for_lost() -> None:
    story = await standing()
    story.ready = False
    story.down(2)
    assert await story.wait(60) == []
    story.up(2)
    story.ready = True
    assert await story.wait(2) == []


async def test_a_restart_keeps_what_is_still_decided() -> None:
    story = await standing()
    story.start(Timing())
    await story.wait(5)
    story.decide(override(exit=2))
    assert await story.wait(60) == []
    assert story.holding() == TO_ET2
    assert story.core.books.entries[PREFIX].state == "standing"


async def test_a_restart_lets_go_of_what_nobody_decides_after_a_hold_in_safe_order() -> None:
    story = await standing()
    story.start(Timing())
    assert await story.wait(299) == []
    done = await story.wait(2)
    assert done[-1] == f"r1 - {PREFIX}"
    assert story.holding() == {}


async def test_a_path_lost_during_a_restart_is_not_held() -> None:
    story = await standing()
    story.rib.withdraw("r1", PREFIX, "127.0.0.32")
    story.start(Timing())
    assert len(await story.step()) == 3
    assert story.holding() == {}


async def test_half_an_override_found_at_start_is_completed_by_its_decision() -> None:
    story = await standing()
    del story.speakers["r3"].held[PREFIX]
    story.echo()
    story.start(Timing())
    story.decide(override(exit=2))
    await story.settle()
    assert story.holding() == TO_ET2


async def test_routes_found_without_their_exit_go_at_once() -> None:
    story = await standing()
    del story.speakers["r1"].held[PREFIX]
    story.echo()
    story.start(Timing())
    assert sorted(await story.step()) == [f"r2 - {PREFIX}", f"r3 - {PREFIX}"]


# halt and limits


async def test_a_halt_takes_everything_at_once_and_nothing_comes_until_it_is_over() -> None:
    story = await standing()
    story.core.halt("control", True)
    assert len(await story.step()) == 3
    story.decide(override(exit=2))
    assert await story.wait(10) == []
    story.core.halt("file", True)
    story.core.halt("control", False)
    story.decide(override(exit=2))
    assert await story.wait(10) == []
    story.core.halt("file", False)
    story.decide(override(exit=2))
    await story.settle()
    assert story.holding() == TO_ET2
    assert {reason for _, reason in story.told("withdrawn")} == {"halted by control"}


async def test_a_halt_works_before_bmp_was_read_and_on_what_is_found_later() -> None:
    story = await standing()
    story.ready = False
    story.start(Timing())
    story.core.halt("file", True)
    await story.wait(3)
    assert story.holding() == {}


async def test_routers_get_no_more_than_80_percent_of_their_maximum_prefix() -> None:
    routers = [msgspec.structs.replace(router, maximum_prefix=10) for router in POP.router]
    prefixes = [f"203.0.{number}.0/24" for number in range(9)]
    story = Story(msgspec.structs.replace(POP, router=tuple(routers)), prefixes)
    story.decide(*(override(prefix) for prefix in prefixes))
    await story.settle()
    assert len(story.speakers["r1"].held) == 8
    assert story.told("refused", prefixes[8]) == [("r1", "maximum-prefix")]


async def test_budgets_bind() -> None:
    prefixes = [f"203.0.{number}.0/24" for number in range(5)]
    budgets = msgspec.structs.replace(POP.budgets, max_overrides=4, max_new_per_cycle=3)
    story = Story(msgspec.structs.replace(POP, budgets=budgets), prefixes)
    story.decide(*(override(prefix) for prefix in prefixes))
    story.decide(*(override(prefix) for prefix in prefixes))
    await story.settle()
    assert sorted(story.speakers["r1"].held) == prefixes[:4]
    assert story.told("refused", prefixes[3]) == [("r1", "budget-new-per-cycle")]
    assert story.told("refused", prefixes[4])[-1] == ("r1", "budget-overrides")


async def test_what_a_guard_refuses_is_not_announced_and_told_once() -> None:
    story = Story()
    for _ in range(3):
        story.decide(override(exit=2, source_path=SourcePath((), "igp")))
        assert await story.settle() == []
    assert story.told("refused") == [("r1", "empty-as-path")]
