"""A page on loopback that shows a model's own answers, with their seeds and the commands that reproduce them."""
