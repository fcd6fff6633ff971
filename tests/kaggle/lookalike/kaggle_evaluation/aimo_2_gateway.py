from kaggle_evaluation.core.base_gateway import BaseGateway


class AIMO2Gateway(BaseGateway):
    """Half an hour for an answer, and none under another id."""

    answer_s = 30 * 60.0
    late = "SERVER_CONNECTION_FAILED"
    refuses_wrong_ids = True
