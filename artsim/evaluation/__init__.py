"""What a trained head is worth: on the test split, beside every baseline, with intervals that a sceptic accepts."""
