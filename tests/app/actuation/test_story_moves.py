"""Stories of an override's life: it comes exit first, stays while it is wanted, and goes exit last."""

from itertools import pairwise

from app.actuation.timing import Timing
from tests.app.actuation.pop import PREFIX, PREFIX6, override
from tests.app.actuation.story import Story

TO_ET2 = {"r1": "198.51.100.2", "r2": "192.0.2.11", "r3": "192.0.2.11"}


async def test_the_exit_comes_first_and_the_others_once_it_shows() -> None:
    story = Story()
    story.decide(override(exit=2))
    assert await story.step() == [f"r1 + {PREFIX} > 198.51.100.2"]
    assert await story.step() == []  # r1 has not shown it yet
    story.echo("r1")
    assert sorted(await story.step()) == [f"r2 + {PREFIX} > 192.0.2.11", f"r3 + {PREFIX} > 192.0.2.11"]
    await story.settle()
    assert story.holding() == TO_ET2
    assert story.told("confirmed") == [(router, "rhv1000/r1/et1 is congested") for router in ("r1", "r2", "r3")]


async def test_a_release_takes_the_others_first_and_the_exit_last() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    story.decide(released=[PREFIX])
    assert sorted(await story.step()) == [f"r2 - {PREFIX}", f"r3 - {PREFIX}"]
    story.echo("r2")
    assert await story.step() == []  # r3 still shows the way to r1
    story.echo("r3")
    assert await story.step() == [f"r1 - {PREFIX}"]
    assert story.reconciler.overrides.entries == {}
    assert story.told("withdrawn")[-1] == ("r1", "released: natural-load-fits")


async def test_a_router_whose_bmp_is_silent_delays_a_release_and_does_not_stop_it() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    story.mute.add("r3")
    story.decide(released=[PREFIX])
    await story.wait(10)
    assert story.holding() == {"r1": "198.51.100.2"}
    await story.wait(15)
    assert story.holding() == {}


async def test_an_override_is_a_copy_of_its_source_path_with_our_marks() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    held = story.speakers["r1"].held[PREFIX]
    assert (held.as_path, held.origin, held.med, held.local_pref) == ((64602, 65010), "igp", None, 1000)
    assert held.communities == ("64512:911", "65535:65281")
    assert held.large_community == (64512, round(story.clock.now_s()) + 300, 0)


async def test_ipv6_goes_by_the_ipv6_loopback() -> None:
    story = Story(prefixes=[PREFIX6])
    story.decide(override(PREFIX6, exit=3))
    await story.settle()
    assert story.holding(PREFIX6) == {
        "r1": "2001:db8:ffff::12", "r2": "2001:db8:ffff::3", "r3": "2001:db8:ffff::12",
    }  # fmt: skip


async def test_a_repeat_and_an_older_decision_change_nothing() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    story.seq -= 1
    story.decide(released=[PREFIX])  # the same (epoch, seq) again, whatever it says
    story.decide(released=[PREFIX], epoch=6)
    assert await story.settle() == []
    assert story.holding() == TO_ET2


async def test_a_lease_is_renewed_on_the_routers_after_two_thirds_of_it() -> None:
    """Each prefix at a moment of its own between two thirds and five sixths."""
    prefixes = [f"203.0.{number}.0/24" for number in range(40)]
    story = Story(prefixes=prefixes)
    for second in range(0, 300, 10):
        story.decide(*(override(prefix, exit=2) for prefix in prefixes))
        await story.wait(10)
        announced = len(story.log) - 3 * len(prefixes)
        assert announced == 0 if second + 10 <= 200 else announced > 0
        if second + 10 == 230:
            assert announced < 3 * len(prefixes), "not all at once"
    assert announced == 3 * len(prefixes)
    assert len(story.told("announced", prefixes[0])) == 3, "a renewed lease is no news"
    ends_s = {route.lease_end_s - story.clock.now_s() for route in story.speakers["r1"].held.values()}
    assert min(ends_s) >= 200
    assert max(ends_s) <= 300


async def test_a_router_that_is_sent_to_the_exit_never_has_a_longer_lease_than_the_exit() -> None:
    """Else, if nobody renews any more, the reapers would leave it pointing at a router that sends the traffic back."""
    prefixes = [f"203.0.{number}.0/24" for number in range(20)]
    story = Story(prefixes=prefixes)
    for second in range(700):
        if second % 10 == 0:
            story.decide(*(override(prefix, exit=2) for prefix in prefixes))
        if second == 450:
            story.lose_speaker("r2")
        await story.wait(1)
        held = {router: speaker.held for router, speaker in story.speakers.items()}
        for prefix in prefixes:
            at_exit = held["r1"][prefix].lease_end_s if prefix in held["r1"] else 0
            others = [held[router][prefix].lease_end_s for router in ("r2", "r3") if prefix in held[router]]
            assert all(lease_end_s < at_exit for lease_end_s in others), second
    assert len(others) == 2


async def test_a_new_epoch_alone_announces_nothing() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    story.decide(override(exit=2), epoch=8)
    assert await story.settle() == []


async def test_another_next_hop_of_the_same_exit_leaves_the_others_alone() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    story.decide(override(exit=1))
    assert await story.settle() == [f"r1 + {PREFIX} > 198.51.100.1"] + [
        f"{router} + {PREFIX} > 192.0.2.11" for router in ("r2", "r3")
    ]  # the copies carry the new source path


async def test_a_move_to_another_router_never_leaves_a_router_pointing_at_one_without_a_way_out() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    story.decide(override(exit=3))
    assert await story.step() == [f"r2 + {PREFIX} > 198.51.100.3"]
    assert story.holding() == {"r1": "198.51.100.2", "r2": "198.51.100.3", "r3": "192.0.2.11"}
    story.echo("r2")
    assert sorted(await story.step()) == [f"r1 + {PREFIX} > 192.0.2.12", f"r3 + {PREFIX} > 192.0.2.12"]
    await story.settle()
    assert story.reconciler.overrides.entries[PREFIX].state == "standing"


async def test_absence_alone_holds_and_is_counted_until_the_hold_ends() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    for _ in range(25):
        await story.wait(10)
        story.decide()
    assert story.holding() == TO_ET2
    await story.wait(41)
    assert story.holding() == {}
    assert story.told("withdrawn")[0][1] == "lease-ended"


async def test_leases_that_end_together_are_given_up_one_after_the_other() -> None:
    """Between five sixths and 29 thirtieths of the lease, however many there are, and each in safe order."""
    prefixes = [f"203.0.{number}.0/24" for number in range(40)]
    story = Story(prefixes=prefixes)
    story.decide(*(override(prefix) for prefix in prefixes))
    await story.settle()
    left: list[int] = []
    for _ in range(5):
        await story.wait(10 if left else 250)
        left.append(sum(bool(story.holding(prefix)) for prefix in prefixes))
    assert left == sorted(left, reverse=True)
    assert (left[0], left[-1]) == (40, 0)
    assert max(before - after for before, after in pairwise(left)) < 20


async def test_a_decision_adds_only_within_its_time() -> None:
    story = Story()
    story.decide(override(exit=2), age_s=31)
    assert await story.settle() == []
    assert story.told("refused") == [("r1", "too-late")]


async def test_a_late_decision_still_renews_what_is_held() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.wait(250)
    story.decide(override(exit=2), age_s=31)
    await story.wait(100)
    assert story.holding() == TO_ET2


async def test_what_is_not_complete_when_its_time_to_add_ends_is_taken_back() -> None:
    story = Story(timing=Timing(confirm_s=60))
    story.mute.add("r1")
    story.decide(override(exit=2))
    await story.wait(29)
    assert story.holding() == {"r1": "198.51.100.2"}
    await story.wait(3)
    assert story.holding() == {}
    assert story.told("withdrawn") == [("r1", "add-window-ended")]


async def test_a_newer_decision_gives_more_time_to_complete_it() -> None:
    story = Story(timing=Timing(confirm_s=60))
    story.mute.add("r1")
    story.decide(override(exit=2))
    await story.wait(25)
    story.decide(override(exit=2))
    await story.wait(20)
    story.mute.clear()
    await story.settle()
    assert story.holding() == TO_ET2


async def test_no_hold_is_longer_than_ours_whatever_a_decision_asks() -> None:
    story = Story(timing=Timing(lease_s=60))
    story.decide(override(exit=2))
    await story.settle()
    await story.wait(62)
    assert story.holding() == {}
