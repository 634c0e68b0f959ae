"""What the operating system gives: whole files, locks, processes, seeds, devices, progress."""
