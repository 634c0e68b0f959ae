"""Training: one loop for everything; `probes` trains heads on features, `pretraining` trains models on unlabelled audio."""
