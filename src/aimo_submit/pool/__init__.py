"""Recorded samples at home: journals of one kind become arrays, from which all else is computed.

Begin with `arrays.py`, whose `Pool` is what tune and report work on. `reading.py` reads journals
one solution at a time, `tables.py` writes and reads Parquet, `ballots.py` takes in others' votes.
"""
