"""Every framework writes its own checkpoints: committed when whole and not before, restored, and gone on from by the framework itself.

These are the tests of `test_torch.py` and `test_jax.py`, two files so that two processes can run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spotguard.demo.embedded_s3 import EmbeddedS3
from tests.e2e.frameworks.frameworks import Framework
from tests.e2e.frameworks.story import Story, matching_save
from tests.support.daemon_process import CommandMachine

StoryOf = Callable[[Framework], Story]


def test_nothing_is_committed_before_it_is_whole(
    framework: Framework, story_of: StoryOf, record_property: Callable[[str, object], None]
) -> None:
    story = story_of(framework)
    assert all(save.pauses for save in story.saves[:2]), "no pause fell into these saves: nothing could be committed too early"
    for commit in story.commits:
        told = f"{commit.manifest.name}, generation {commit.manifest.generation}, {sorted(commit.files)}"
        assert matching_save(commit, story.saves), f"committed, and no save of the framework: {told}"
    newest = [commit.manifest for commit in story.commits if commit.manifest.name == story.saves[-1].name][-1]
    assert newest.layout == framework.layout
    told = f"{framework.name}: layout {newest.layout}, known by {newest.complete_by}"
    record_property("measured", f"{told}, committed {story.seconds_to_commit:.2f} s after the last byte")


def test_the_framework_goes_on_from_what_is_restored(
    framework: Framework, story_of: StoryOf, python_of: Callable[[Framework], Path], bucket: EmbeddedS3, tmp_path: Path
) -> None:
    story = story_of(framework)
    last = story.saves[-1]
    with CommandMachine(tmp_path / "b", url=story.url, endpoint_url=bucket.url) as machine:
        restored = machine.spotguard("restore")
        assert restored.returncode == 0, restored.stderr
        options = ("--resume", "--steps", last.step + 1)
        training = machine.start(*framework.command(python_of(framework), machine.output, *options), output="resume.log")
        assert training.wait(120) == 0, "".join(training.lines()[-20:])
        started, ended = training.told("started")[0], training.told("ended")[0]
    assert (started["step"], started["weights"]) == (last.step, last.weights)
    assert ended["step"] == last.step + 1
    assert ended["weights"] != last.weights
