"""Operations on frame features and tensors."""
