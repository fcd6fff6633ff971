from kaggle_evaluation.relay import Gateway


class AIMO3Gateway(Gateway):
    """In the file's order, without a limit for an answer."""
