"""What a perturbation method makes of the answers: estimates with their errors, regressions, surrogates."""
