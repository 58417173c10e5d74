"""From verdicts to training data: examples, what is wrong with them, how they are split, and every format they leave in."""
