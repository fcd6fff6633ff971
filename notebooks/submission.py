# %% [markdown]
# # aimo-submit
# Built by `aimo-submit build` from `notebooks/submission.py` and `notebooks/config.toml`: **do not
# edit here**. For each problem the model writes N solutions whose Python runs in a sandbox; the
# boxed answers vote. The kit itself is in the first cell, so this file is the whole submission.
#
# In the interactive run anything that is wrong stops the notebook with one line that names the
# remedy; in the competition's rerun nothing does, and every problem gets an answer.

# %% kit
# @KIT@

# %% [markdown]
# The kit, unpacked outside the output. Model-written code runs under users of its own, which have
# to be able to read what it is started from.

# %%
import base64, io, os, sys, tarfile, tempfile

for place in (os.environ.get("TMPDIR", "/tmp"), "/dev/shm", "."):
    try:
        home = tempfile.TemporaryDirectory(prefix="aimo-submit-", dir=place)
        os.chmod(home.name, 0o755)
        packed = tarfile.open(fileobj=io.BytesIO(base64.b64decode(KIT)))
        packed.extractall(home.name, filter="data")
        sys.path.insert(0, home.name)
        print(f"aimo-submit {COMMIT}, package {PACKAGE}, in {home.name}")
        break
    except OSError as error:
        print(f"{place}: {error}")

# %% [markdown]
# Settings: those of `config.toml`, over those of the model's card for this machine.

# %%
# @SETTINGS@
from aimo_submit.kaggle.runtime.steps import Notebook

run = Notebook(SETTINGS)

# %% [markdown]
# The engine, from wheels that are mounted anywhere below the inputs.

# %%
run.install()

# %%
run.check()

# %%
run.solve("Find the remainder when $3^{100}$ is divided by $77$.")

# %%
run.serve()
