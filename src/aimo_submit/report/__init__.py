"""A pool as one HTML page, and a fetched run as tables, at home.

Begin with `figures.py`: the eight plots and what each needs. `panels.py` takes numbers from the
pool, `plots.py` draws them, `page.py` puts all into one file with every sample (`rows.py`).
"""
