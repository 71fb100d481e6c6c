"""Tasks that a temporal difference model is trained on online."""
