"""What the README's figures are printed by: ratios against a baseline measured in the same run."""
