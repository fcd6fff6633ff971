"""The suite mirrors the house: a folder for each room of `src/aimo_submit/`."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"
SHARED = ROOT.parent / "shared"  # cases and data that are not ours to publish; not everywhere
NOT_SHARED = "needs ../shared, which does not lie beside this checkout"
