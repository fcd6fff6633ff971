"""The notebook rehearsed at home: a tree like Kaggle's, a fake gateway, a real kernel, a verdict.

By process: `rehearsal`, `tree` and `verdict` run in the command's own, `player` in one that holds
the kernel; `ipython_startup` and `fake_gateway` are copied into the tree and run in the kernel.
"""
