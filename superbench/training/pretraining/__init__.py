"""Pretraining on unlabelled audio: the data, the model in training, its output files and learning curves."""
