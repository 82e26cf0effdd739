"""All rows of the table: the name of a fault, who does it, how often in a full run and in a short one."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from tests.faults import bmp_faults as bmp
from tests.faults import broker_faults as broker
from tests.faults import changelog_faults as changelog
from tests.faults import disk_faults as disk
from tests.faults import feed_faults as feed
from tests.faults import version_faults as version
from tests.faults import worker_faults as worker
from tests.faults.rig import Rig, Setup


class Fault(NamedTuple):
    """One row; `inject` does the damage once and returns when the worker goes on."""

    name: str
    inject: Callable[[Rig], Awaitable[None]]
    times: int
    short_times: int = 0  # 0 leaves it out of the short run
    setup: Setup = Setup()


THREE = Setup(brokers=3)
FAULTS = (
    Fault("worker SIGKILL", worker.sigkill, 50, 2),
    Fault("worker SIGKILL, disk wiped", worker.sigkill_wiped, 50, 2),
    Fault("worker frozen", worker.frozen, 3),
    Fault("worker frozen, standby takes over", worker.frozen_with_standby, 4, 1, Setup(standby=True)),
    Fault("worker SIGKILL, standby takes over", worker.sigkill_with_standby, 6, 0, Setup(standby=True)),
    Fault("worker SIGTERM", worker.sigterm, 5),
    Fault("commits set to the end", worker.commits_set, 3, 1),
    Fault("outage of 40 s", partial(worker.outage, seconds=40.0), 2),
    Fault("outage of 170 s", partial(worker.outage, seconds=170.0), 1),
    Fault("pair killed, backlog", worker.pair_killed, 8, 0, Setup(standby=True)),
    Fault("worker disk full", worker.disk_full, 2, 0, Setup(disk_bytes=96 * 1024 * 1024)),
    Fault("windows of another length", worker.other_windows, 3),
    Fault("links leave, and come back renamed", worker.other_links, 2),
    Fault("rows damaged", disk.damaged, 16, 1),
    Fault("rows of another cluster, longer there", disk.of_another_cluster_longer, 2),
    Fault("rows of another cluster, shorter there", disk.of_another_cluster_shorter, 2),
    Fault("rows beyond the changelog", disk.beyond_the_changelog, 2),
    Fault("changelog tail lost, disk kept", changelog.tail_lost, 4),
    Fault("changelog tail lost, disk wiped", changelog.tail_lost_wiped, 4, 1),
    Fault("changelog policy changed", changelog.policy_changed, 3),
    Fault("changelog policy changed, disk wiped", changelog.policy_changed_wiped, 2),
    Fault("previous row format", version.next_format, 3),
    Fault("worker clock wrong", worker.clock_wrong, 2),
    Fault("broker SIGKILL", broker.sigkill, 5, 1),
    Fault("broker frozen", broker.frozen, 3),
    Fault("broker silent for 12 s", broker.silent, 3),
    Fault("broker silent for 12 s, standby", broker.silent, 2, 0, Setup(standby=True)),
    Fault("one of three brokers silent for 12 s", broker.silent, 3, 0, THREE),
    Fault("broker frozen during recovery", broker.frozen_during_recovery, 3),
    Fault("one of three brokers killed", broker.one_of_three_killed, 3, 0, THREE),
    Fault("all of three brokers killed", broker.all_killed, 2, 0, THREE),
    Fault("input topic recreated", broker.recreated_topic, 3),
    Fault("input topic recreated unread", broker.recreated_unread, 2, 0, Setup(may_lose=True)),
    Fault("retention removed unread records", broker.unread_removed, 3, 0, Setup(may_lose=True)),
    Fault("deliveries repeated", broker.deliveries_repeated, 3),
    Fault("poison records", feed.poison, 3, 1),
    Fault("messages sent twice", feed.sent_twice, 2),
    Fault("late and out of order", feed.late, 2),
    Fault("collector clock wrong", feed.clock_wrong, 2),
    Fault("sampling rate changes", feed.rate_changes, 3),
    Fault("interfaces renumbered", feed.renumbered, 2),
    Fault("link speed changes", feed.speed_changes, 2),
    Fault("collector killed", feed.collector_killed, 2),
    Fault(
        "BMP records reordered at the collector's start",
        partial(bmp.reordered, is_last=True),
        4,
        1,
        Setup(reordered=True),
    ),
    Fault("BMP records reordered, initiation among them", partial(bmp.reordered, is_last=False), 2),
    Fault("one of two PoPs silent", feed.one_pop_silent, 2, 0, Setup(pops=("rhv1000", "rhv2000"))),
)
