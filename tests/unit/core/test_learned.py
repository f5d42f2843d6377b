"""What a run saves is learned: rank by rank, and anew when it changes for good."""

from __future__ import annotations

from spotguard.core.checkpoint import LocalCheckpoint
from spotguard.core.layouts.identify import identify
from spotguard.core.layouts.learned import Predecessors, lacking, paths_of
from spotguard.core.layouts.ranks import kind_of, missing_rank, world_size
from tests.unit.core.layout_world import stat, tree


def saved(name: str, *files: str, at: float) -> LocalCheckpoint:
    found = tree(stats={f"{name}/{file}": stat(at, inode=i) for i, file in enumerate(files)})
    return identify(found, "generic-dir").checkpoints[name]


def test_steps_are_generalised_and_ranks_are_not() -> None:
    assert kind_of("global_step100/zero_pp_rank_3_mp_rank_00_optim_states.pt") == "global_step#/zero_pp_rank_3_mp_rank_00_optim_states.pt"
    assert kind_of("model-00001-of-00002.safetensors") == "model-#-of-#.safetensors"
    assert kind_of("ep3-ba100-rank12.pt") == "ep#-ba#-rank12.pt"
    assert kind_of("__3_17.distcp") == "__3_#.distcp"
    assert kind_of("frankfurt7/x8.pt") == "frankfurt#/x#.pt"


def test_how_many_ranks_wrote_it_is_told_by_their_files() -> None:
    assert world_size(["model.pt", "rng_state_0.pth", "rng_state_1.pth"]) == 2
    pairs = [f"zero_pp_rank_{dp}_mp_rank_0{mp}_optim_states.pt" for dp in range(4) for mp in range(2)]
    assert world_size([*pairs, "mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"]) == 8
    assert world_size([f"__{rank}_{n}.distcp" for rank in range(3) for n in range(5)]) == 3
    assert world_size(["model.pt", "model-00001-of-00002.safetensors"]) is None


def test_a_rank_that_is_left_out_is_found() -> None:
    assert missing_rank(["a/rng_state_0.pth", "a/rng_state_2.pth"]) == "a/rng_state_1.pth"
    assert missing_rank(["rank_1.pt", "rank_2.pt"]) is None
    assert missing_rank(["rank_2.pt"]) is not None
    assert missing_rank(["model.pt"]) is None


def test_the_newest_whole_one_of_the_same_kind_is_what_others_are_held_against() -> None:
    known = Predecessors()
    known.add("step-1", "generic-dir", 100, ("a.pt",))
    known.add("step-2", "generic-dir", 200, ("a.pt", "b.pt"))
    known.add("other-3", "generic-dir", 300, ("c.pt",))
    known.add("rl/step-4", "generic-dir", 400, ("d.pt",))
    assert known.of(saved("step-9", "a.pt", at=1)) == ("a.pt", "b.pt")
    assert known.of(saved("step-2", "a.pt", at=1)) == ("a.pt",)


def test_two_in_a_row_that_are_alike_are_what_the_run_saves_now() -> None:
    known = Predecessors()
    known.add("step-1", "generic-dir", stat(10).mtime_ns, ("rank_0.pt", "rank_1.pt"))
    first, second = saved("step-2", "rank_0.pt", at=20), saved("step-3", "rank_0.pt", at=30)
    known.note(first)
    assert lacking(first, known.of(first)) == "rank_1.pt"
    known.note(second)
    assert lacking(second, known.of(second)) is None
    known.add(second.name, second.layout, second.saved_ns, paths_of(second))
    assert lacking(first, known.of(first)) is None


def test_the_leavings_of_a_deletion_are_not_what_the_run_saves_now() -> None:
    known = Predecessors()
    known.add("step-2", "generic-dir", stat(20).mtime_ns, ("a.pt", "b.pt"))
    known.note(saved("step-1", "a.pt", at=10))
    assert lacking(saved("step-3", "a.pt", at=30), known.of(saved("step-3", "a.pt", at=30))) == "b.pt"
