"""Samples, rounds and how to stop, decided at home from a recorded pool and a machine's profile.

Begin with `tuner.py`, the tuning from its first line to its last. Below it `forecast.py` says what
one candidate comes to: accuracy is exact (`accuracy.py`), time is simulated (`simulation.py`).
"""
