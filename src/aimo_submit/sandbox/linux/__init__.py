"""What the kernel offers to confine and to watch processes; in any process, with its rights."""
