"""The client of kaggle.com: pushes the kernel, watches it, submits its output, keeps the scores.

Runs at home, and is the only room beside `kaggle/upload` that uses the network for Kaggle; nothing
of it travels in the notebook.
"""
