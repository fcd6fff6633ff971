"""Evaluation at home: a problem set solved over several seeds into a journal, and what it shows.

Begin with `runner.py`, which solves and resumes; `problem_sets.py` finds the problems, `ray.py`
solves them on a cluster, `summary.py` computes the accuracy and how sure it is.
"""
