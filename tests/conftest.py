"""Settings of the test run that must come before torch is imported."""

from __future__ import annotations

import os

# Threads that spin while they wait steal the cores from the sandbox: docs/log/engines.md.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
