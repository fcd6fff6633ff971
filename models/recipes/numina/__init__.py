"""Supervised fine-tuning of a model that there is, in the two stages of the AIMO-1 winner."""
