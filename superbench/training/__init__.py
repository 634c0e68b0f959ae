"""One loop that trains anything; heads on features in `probes`, models on unlabelled sound in `pretraining`."""
