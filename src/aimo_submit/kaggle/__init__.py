"""What happens at Kaggle: the gateway's calls, and a stand-in for them at home."""
