from kaggle_evaluation.aimo_2_gateway import AIMO2Gateway
from kaggle_evaluation.relay import InferenceServer


class AIMO2InferenceServer(InferenceServer):
    """The server of AIMO-2."""

    gateway = AIMO2Gateway
