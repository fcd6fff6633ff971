from kaggle_evaluation.core.base_gateway import BaseGateway


class AIMO3Gateway(BaseGateway):
    """Practically without a limit for an answer."""
