from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.adoption import SAME_PASS_SECONDS, ForeignObject, Uploaded, saved_times, tree_of_objects


def newest(*uploads: Uploaded) -> str:
    times = saved_times(uploads)
    steps = {upload.name: int(upload.name.rpartition("-")[2]) for upload in uploads}
    return max(times, key=lambda name: (times[name], steps[name]))


def test_within_one_pass_the_step_decides_and_not_the_order_of_uploads() -> None:
    assert newest(Uploaded("checkpoint-1000", 10.0, 20.0), Uploaded("checkpoint-900", 21.0, 30.0)) == "checkpoint-1000"


def test_between_passes_the_time_decides_as_a_run_may_have_begun_anew() -> None:
    later = 20.0 + SAME_PASS_SECONDS + 1
    assert newest(Uploaded("checkpoint-1000", 10.0, 20.0), Uploaded("checkpoint-50", later, later + 5)) == "checkpoint-50"


def test_stages_do_not_mix() -> None:
    times = saved_times([Uploaded("sft/checkpoint-9", 1.0, 2.0), Uploaded("dpo/checkpoint-3", 1.0, 8.0)])
    assert times == {"sft/checkpoint-9": 2, "dpo/checkpoint-3": 8}


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2000), st.floats(0, 400)), max_size=12, unique_by=lambda t: t[0]))
def test_no_checkpoint_is_saved_after_its_last_upload_and_all_have_a_time(drawn: list[tuple[int, float, float]]) -> None:
    uploads = [Uploaded(f"checkpoint-{step}", first, first + length) for step, first, length in drawn]
    times = saved_times(uploads)
    assert times.keys() == {upload.name for upload in uploads}
    assert all(times[upload.name] <= upload.last for upload in uploads)


def test_folder_markers_and_escaping_names_are_no_files() -> None:
    objects = {path: ForeignObject(1, "e", 5.0) for path in ("a/", "a//b", "../x", "a/./b", "a/b", "a/c.log")}
    tree = tree_of_objects(objects, lambda path: path.endswith(".log"))
    assert set(tree.files) == {"a/b"}
    assert set(tree.folders) == {"a"}
    assert tree.excluded == {"a/c.log"}
