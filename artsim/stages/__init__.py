"""The steps a row goes through, as plain classes: one file per step, none of them knows Ray or another step."""
