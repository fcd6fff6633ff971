from kaggle_evaluation.aimo_3_gateway import AIMO3Gateway
from kaggle_evaluation.core.templates import InferenceServer


class AIMO3InferenceServer(InferenceServer):
    """The server of AIMO-3."""

    gateway = AIMO3Gateway
