from kaggle_evaluation.relay import Gateway


class AIMO2Gateway(Gateway):
    """In random order, half an hour for an answer."""

    answer_s = 30 * 60.0
    shuffle = True
