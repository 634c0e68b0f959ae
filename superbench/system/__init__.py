"""Functions of the operating system: atomic files, locks, processes, seeds, devices, progress."""
