"""The recipe of `models/tiny-tir`: problems, corpus, tokenizer, training and measuring."""
