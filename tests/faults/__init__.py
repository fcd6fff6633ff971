"""Everything that goes wrong on Kaggle, done to a rehearsed notebook on purpose.

`cases` names the faults; `injections` are done to the running notebook from outside, by the
player's process; `kernel_faults` is copied into the kernel. `make chaos` runs `chaos`.
"""
