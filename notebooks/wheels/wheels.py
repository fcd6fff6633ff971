# %% [markdown]
# # aimo-submit wheels
# Built by `aimo-submit build` from `notebooks/wheels/wheels.py`: **do not edit here**. Run once,
# with internet; its output is a flat folder of wheels. Name this notebook under `kernel_sources` of
# the submission, which has no internet and installs from there. The set is that of this image's
# Python: pin the same image here and there.

# %%
# @REQUIREMENTS@

# %%
import pathlib, subprocess, sys

pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
here = "{}.{}".format(*sys.version_info)
lock = pathlib.Path("requirements.txt")
lock.write_text(REQUIREMENTS.get(here) or REQUIREMENTS["3.12"])
locked = ["--only-binary=:all:", "--no-deps", "-q", "-r", str(lock)]
subprocess.run([*pip, "download", *locked], check=True)

# %% [markdown]
# The proof: the set is complete, so that it installs with no index.

# %%
offline = ["--no-index", "--find-links=.", "--ignore-installed", "--dry-run", "-q"]
subprocess.run([*pip, "install", *offline, "-r", str(lock)], check=True)
wheels = list(pathlib.Path().glob("*.whl"))
print(f"{len(wheels)} wheels, {sum(w.stat().st_size for w in wheels) / 1e9:.2f} GB")
