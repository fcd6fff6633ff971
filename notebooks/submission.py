# %% [markdown]
# # aimo-submit
# For each problem the model writes N solutions whose Python runs in a sandbox; the boxed answers
# vote. In the interactive run anything that is wrong stops the notebook with one line that names
# the remedy; in the competition's rerun nothing does, and every problem gets an answer.
#
# `aimo-submit build` makes two notebooks of `submission.py` and `config.toml`; **edit those**, not
# these. `notebooks/submission.ipynb` runs at home, on the kit as it is installed.
# `build/submission.ipynb` goes to Kaggle and has the kit inside (`--readable`: as plain text).

# %% home
# At home: inputs as Kaggle mounts them, with the bundled model and a fake of the gateway.
from aimo_submit.kaggle.rehearsal.tree import at_home

problems = ["Evaluate the greatest common divisor of $1300$ and $1400$.",
            "Find the remainder when $3^{100}$ is divided by $77$."]
at_home("tiny-tir", problems)

# %% kaggle
# @KIT@

# %% kaggle
# The kit, unpacked outside the output, where the users that model-written code runs as can read it.
import os, pathlib, sys, tempfile

for place in (os.environ.get("TMPDIR", "/tmp"), "/dev/shm", "."):
    try:
        home = tempfile.TemporaryDirectory(prefix="aimo-submit-", dir=place)
        os.chmod(home.name, 0o755)
        for name, text in KIT.items():
            file = pathlib.Path(home.name, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        sys.path.insert(0, home.name)
        print(f"aimo-submit {COMMIT}, package {PACKAGE}, in {home.name}")
        break
    except OSError as error:
        print(f"{place}: {error}")

# %%
# Settings of `config.toml`, over those of the model's card for this machine.
# @SETTINGS@

# %%
from aimo_submit.kaggle.runtime.steps import Notebook

run = Notebook(SETTINGS)

# %%
# The engine, from wheels that are mounted anywhere below the inputs.
run.install()

# %%
run.check()

# %%
run.solve("Find the remainder when $3^{100}$ is divided by $77$.")

# %%
run.serve()
