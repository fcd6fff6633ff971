"""Our own look-alike of the competitions' package, for tests: NOT Kaggle's code.

It has the outside of the real one - names, gRPC on port 50051, a gateway that may be another
process - so that a rehearsal in two processes can be run where the real one is absent.
"""
