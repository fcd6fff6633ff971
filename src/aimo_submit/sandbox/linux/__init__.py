"""The kernel's means to confine and to watch processes, called in any of them, with its rights."""
