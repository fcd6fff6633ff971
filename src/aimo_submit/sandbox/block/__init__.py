"""The process of a block, a fork of its warden: gives up its rights, then runs the model's code.

Nothing here can be relied on once that code has begun: whatever it does, the warden sees to.
"""
