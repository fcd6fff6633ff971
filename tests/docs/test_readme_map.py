"""The README's map: drawn from docstrings, kept to its marks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docs.readme_map import BEGIN, END, with_map
from tests import ROOT

MODULES = {
    "__init__.py": "The front door.",
    "run.py": "What samples share ... and more. Not this.",
    "loop.py": "One sample,\nin rounds.\n\nNor this.",
    "beyond.py": "What the order does not know",
    "engines/__init__.py": "The seam. Not this.",
    "cards/__init__.py": "A card, " + "which is long, " * 6 + "goes on.",
    "engines/scripted.py": "Nothing of a room but its own line.",
    "engines/vllm/__init__.py": "vLLM 0.19.",
    "data/set.jsonl": "no room",
}


def test_the_core_in_reading_order_then_each_room_by_its_first_sentence(tmp_path: Path) -> None:
    for name, docstring in MODULES.items():
        file = tmp_path / "kit" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'"""{docstring}"""\n')
    text = f"before\n{BEGIN}what stood there\n{END}after\n"
    drawn = with_map(text, tmp_path / "kit")
    assert drawn == (
        f"before\n{BEGIN}\n"
        "    src/kit/\n"
        "      loop.py         One sample, in rounds\n"
        "      run.py          What samples share ... and more\n"
        "      beyond.py       What the order does not know\n"
        f"      cards/          A card{4 * ', which is long'}\n"
        "      engines/        The seam\n"
        "        vllm/         vLLM 0.19\n"
        f"\n{END}after\n"
    )
    assert with_map(drawn, tmp_path / "kit") == drawn


def test_a_stale_map_is_told_in_one_line_with_the_remedy(tmp_path: Path) -> None:
    script = tmp_path / "docs" / "readme_map.py"
    script.parent.mkdir()
    script.write_text((ROOT / "docs/readme_map.py").read_text())
    (tmp_path / "src/aimo_submit").mkdir(parents=True)
    (tmp_path / "README.md").write_text(f"{BEGIN}\n    src/elsewhere/\n\n{END}")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)

    stale = run("--check")
    assert (stale.returncode, stale.stderr.count("\n")) == (1, 1)
    assert "make map" in stale.stderr
    assert run().returncode == run("--check").returncode == 0
