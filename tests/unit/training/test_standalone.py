"""`spotguard.training` where nothing else is installed, and the loop of its documentation."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import spotguard.training

SOURCE = Path(spotguard.training.__file__).parents[2]

BARE = f"""\
import sys
sys.path.insert(0, {str(SOURCE)!r})
import spotguard.training as training
assert training.get_latest_checkpoint(sys.argv[1]) is None
training.save_training_state(sys.argv[1], {{"step": 3}})
assert training.load_training_state(sys.argv[1]) == {{"step": 3}}
assert training.interruption(sys.argv[1] + "/none") is None
assert training.interruption("http://127.0.0.1:1") is None
foreign = sorted(
    name for name, module in sys.modules.items()
    if "." not in name and name not in sys.stdlib_module_names and not name.startswith("__") and name != "spotguard"
)
print(foreign)
"""


def test_it_works_with_nothing_installed(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-S", "-I", "-W", "error", "-c", BARE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert run.stdout == "[]\n"


def test_the_loop_of_the_documentation_saves_at_a_notice_and_goes_on_from_there(tmp_path: Path) -> None:
    documentation = spotguard.training.__doc__
    assert documentation is not None
    (example,) = re.findall(r"```python\n(.*?)```", documentation, re.DOTALL)
    script = tmp_path / "loop.py"
    script.write_text(example)
    out, notice = tmp_path / "out", tmp_path / "notice.json"

    def run() -> str:
        environment = os.environ | {"PYTHONPATH": str(SOURCE)}
        return subprocess.run([sys.executable, script, out, notice], capture_output=True, text=True, check=True, env=environment).stdout

    notice.write_text(json.dumps({"kind": "terminate", "deadline": None}))
    assert run() == "saved step 1 before terminate\n"
    for path in (*(out / "step-1").iterdir(), out / "step-1"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))
    assert run() == "resuming step-1 state {'step': 1}\nsaved step 2 before terminate\n"
