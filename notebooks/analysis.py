# %% [markdown]
# # What a run teaches
# Built by `aimo-submit build` from `notebooks/analysis.py`: **do not edit here**, copy it. Reads what
# `aimo-submit output` fetched, `runs/<kernel>/<version>/`; another run's folder can be put in.

# %%
# %matplotlib inline
from pathlib import Path

import rich

from aimo_submit import show
from aimo_submit.report import frames

folder = frames.newest(Path("runs") if Path("runs").is_dir() else Path("../runs"))
run = frames.solutions(folder)
problems, samples, rounds = frames.problems(folder), frames.samples(run), frames.rounds(run)
print(f"{folder}: {len(problems)} problems, {len(samples)} samples, {len(rounds)} rounds")

# %% [markdown]
# Each problem: its votes, how sure the vote is, and why it ended when it did. Fallbacks first.

# %%
problems.sort_values("margin")

# %%
frames.time_figure(problems)

# %%
frames.ends_figure(samples)

# %% [markdown]
# How the code ended, round by round; and what a sample costs, by how it ended.

# %%
rounds.groupby(["round", "outcome"]).size().unstack(fill_value=0)

# %%
samples.groupby("status")[["rounds", "tokens", "engine_s", "sandbox_s"]].mean().round(1)

# %% [markdown]
# The work on the least certain problem.

# %%
rich.print(show.work(min(run, key=lambda solution: solution.margin)))
