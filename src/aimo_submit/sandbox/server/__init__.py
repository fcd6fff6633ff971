"""The fork server and its wardens: programs of their own with the kit's rights, started without
its environment, descriptors and memory. They fork what runs blocks, watch it and end it.
"""
