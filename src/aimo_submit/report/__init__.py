"""A pool as one HTML page, and a fetched run as tables, at home.

Begin with `page.py`: the eight plots, what each needs, and the one file that holds them with every
sample (`rows.py`). `panels.py` takes numbers from the pool, `plots.py` draws them.
"""
