"""Models made at home: data from a teacher's right solutions, and fewer bits a weight.

Begin with `distil.py`. The fine-tune that reads its data is a recipe beside the models.
"""
