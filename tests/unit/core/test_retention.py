"""Which generations a rule gives up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.checkpoint import stage_of
from spotguard.core.retention import RetentionRule, given_up, is_expendable
from spotguard.core.run_keys import ManifestKey, newest_first

DAY = 24 * 3600


def commit(name: str, saved_at: int, generation: int = 1) -> ManifestKey:
    return ManifestKey(name, generation, saved_at, f"p/.spotguard/manifests/{name}/{generation:08d}-{saved_at}.json")


def names(manifests: tuple[ManifestKey, ...]) -> list[str]:
    return [manifest.name for manifest in manifests]


STEPS = [commit(f"sft/checkpoint-{step}", step * 10) for step in range(100, 600, 100)]


def test_without_a_rule_everything_stays() -> None:
    piled_up = [commit("last.ckpt", n, n) for n in range(1, 50)]
    assert given_up([*STEPS, *piled_up], RetentionRule(), now=1e12) == ()


def test_keep_last_keeps_the_newest_by_saved_at_and_gives_up_the_oldest_first() -> None:
    assert names(given_up(STEPS, RetentionRule(keep_last=2), now=1e12)) == [f"sft/checkpoint-{s}" for s in (100, 200, 300)]


def test_keep_last_counts_per_stage() -> None:
    other = [commit(f"rl/checkpoint-{step}", 10**6 + step) for step in (1, 2, 3)]
    assert names(given_up([*STEPS, *other], RetentionRule(keep_last=4), now=1e12)) == ["sft/checkpoint-100"]


def test_keep_every_keeps_steps_divisible_by_it_and_the_newest() -> None:
    assert names(given_up(STEPS, RetentionRule(keep_every=200), now=1e12)) == ["sft/checkpoint-100", "sft/checkpoint-300"]


def test_keep_days_keeps_what_was_saved_within_them_and_the_newest() -> None:
    week = [commit(f"checkpoint-{day}", day * DAY) for day in range(1, 8)]
    assert names(given_up(week, RetentionRule(keep_days=2), now=8 * DAY)) == [f"checkpoint-{day}" for day in (1, 2, 3, 4, 5)]
    assert names(given_up(week, RetentionRule(keep_days=2), now=800 * DAY)) == [f"checkpoint-{day}" for day in range(1, 7)]


def test_what_any_rule_keeps_stays() -> None:
    rule = RetentionRule(keep_last=1, keep_every=300, keep_days=1)
    assert names(given_up(STEPS, rule, now=1e12)) == ["sft/checkpoint-100", "sft/checkpoint-200", "sft/checkpoint-400"]


def test_of_a_name_committed_again_and_again_the_newest_two_generations_stay() -> None:
    last = [commit("last.ckpt", 100 + n, n) for n in range(1, 6)]
    assert [m.generation for m in given_up(last, RetentionRule(keep_last=3), now=1e12)] == [1, 2, 3]


def test_a_generation_that_a_wrong_clock_dates_back_does_not_make_the_newest_go() -> None:
    last = [commit("last.ckpt", 900, 1), commit("last.ckpt", 100, 2), commit("last.ckpt", 200, 3)]
    assert given_up(last, RetentionRule(keep_last=1), now=1e12) == ()


def test_a_name_that_goes_goes_with_all_its_generations() -> None:
    old = [commit("checkpoint-1", 10, 1), commit("checkpoint-1", 11, 2)]
    assert given_up([*old, commit("checkpoint-2", 20)], RetentionRule(keep_last=1), now=1e12) == tuple(old)


def test_the_order_of_equals_in_time_is_the_step() -> None:
    same = [commit("checkpoint-9", 50), commit("checkpoint-10", 50)]
    assert names(given_up(same, RetentionRule(keep_last=1), now=1e12)) == ["checkpoint-9"]


def test_an_unreadable_manifest_counts_for_nothing_and_nothing_of_its_name_goes() -> None:
    garbage = commit("sft/checkpoint-900", 9999)
    older = commit("sft/checkpoint-900", 1, 2)
    gone = given_up([*STEPS, garbage, older], RetentionRule(keep_last=1), now=1e12, unreadable={garbage.key})
    assert names(gone) == [f"sft/checkpoint-{s}" for s in (100, 200, 300, 400)]


def test_nothing_of_a_name_in_use_goes() -> None:
    gone = given_up(STEPS, RetentionRule(keep_last=1), now=1e12, in_use=["sft/checkpoint-200"])
    assert names(gone) == [f"sft/checkpoint-{s}" for s in (100, 300, 400)]


rules = st.builds(
    RetentionRule,
    keep_last=st.none() | st.integers(1, 4),
    keep_every=st.none() | st.integers(1, 3),
    keep_days=st.none() | st.integers(1, 3),
)
commits = st.lists(
    st.builds(commit, st.sampled_from(["a", "s/1", "s/2", "s/3", "t/x", "t/last.ckpt"]), st.integers(0, 5 * DAY), st.integers(1, 9)),
    unique_by=lambda manifest: (manifest.name, manifest.generation),
    max_size=25,
)


@given(commits, rules, st.integers(0, 9 * DAY), st.data())
def test_the_newest_readable_of_each_stage_always_stays(
    manifests: list[ManifestKey], rule: RetentionRule, now: int, data: st.DataObject
) -> None:
    unreadable = {m.key for m in manifests if data.draw(st.booleans())} if data.draw(st.booleans()) else set()
    gone = given_up(manifests, rule, now=now, unreadable=unreadable)
    assert set(gone) <= {m for m in manifests if m.key not in unreadable}
    left = [m for m in manifests if m not in gone]
    for stage in {stage_of(m.name) for m in manifests}:
        of_stage = newest_first([m for m in manifests if stage_of(m.name) == stage and m.key not in unreadable])
        if of_stage:
            assert of_stage[0] in left
    for name in {m.name for m in left if m in newest_first(left)[:1]}:
        generations = sorted(m.generation for m in manifests if m.name == name)
        assert set(generations[-2:]) <= {m.generation for m in left if m.name == name}
    assert given_up(left, rule, now=now, unreadable=unreadable) == (), "a second pass gives up nothing more"


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 100)), max_size=8),
    st.tuples(st.integers(0, 6), st.integers(0, 100)),
    st.builds(RetentionRule, keep_last=st.none() | st.integers(1, 3), keep_every=st.none() | st.integers(1, 4), keep_days=st.none()),
)
def test_what_is_not_worth_sending_is_what_would_go_at_once_and_never_the_newest(
    there: list[tuple[int, int]], local: tuple[int, int], rule: RetentionRule
) -> None:
    committed = [commit(f"checkpoint-{step}", saved_at) for step, saved_at in dict(there).items() if step != local[0]]
    candidate = commit(f"checkpoint-{local[0]}", local[1])
    expendable = is_expendable(candidate.name, candidate.order, committed, rule, now=1e12)
    assert expendable == (candidate in given_up([*committed, candidate], rule, now=1e12))
    if not committed or candidate.order > max(key.order for key in committed):
        assert not expendable
