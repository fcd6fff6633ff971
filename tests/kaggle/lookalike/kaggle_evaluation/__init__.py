"""Our own look-alike of the competitions' package, for tests: NOT Kaggle's code.

It has the outside of the real one, as it was found by running that: names, gRPC on port 50051, a
gateway that in a rerun dials the host `inference_server`, sends a request again where the
connection breaks, leaves `result.json` and never raises. So a rehearsal in two processes can be run
where the real one is absent.

Not as the real one: frames travel in one format of polars, without protobuf; texts of errors are
shorter; AIMO-2's server takes the port alone, even where the system would let two share it.
"""
