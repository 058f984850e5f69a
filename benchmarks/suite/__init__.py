"""`make bench`: every experiment and benchmark, in full or shortened, beside what is wanted of it."""
