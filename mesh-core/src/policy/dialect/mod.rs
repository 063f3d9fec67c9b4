//! Dialects: what users write, lowered into the model.
