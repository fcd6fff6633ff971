from kaggle_evaluation.aimo_2_gateway import AIMO2Gateway
from kaggle_evaluation.core.relay import GRPC_PORTS
from kaggle_evaluation.core.templates import InferenceServer


class AIMO2InferenceServer(InferenceServer):
    """The server of AIMO-2, on one port alone."""

    gateway = AIMO2Gateway
    ports = GRPC_PORTS[:1]
    plain_functions = False
