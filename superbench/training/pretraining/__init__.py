"""Learning from unlabelled sound: the sound, the model in training, and the curves that it leaves."""
