"""The kit's process: starts the fork server, holds a socket to each warden, runs no model code."""
