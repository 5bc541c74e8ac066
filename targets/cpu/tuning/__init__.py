"""Which of several ways to compute an operator is taken: by estimates, or as was measured."""
