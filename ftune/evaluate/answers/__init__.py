"""What a model with another head than a language model's says of a row, as a prediction."""
