"""The submission's notebook at work: this room, the core and what they import travel to Kaggle.

Until the wheels are installed nothing but the standard library is loaded. `steps` is the way in.
"""
