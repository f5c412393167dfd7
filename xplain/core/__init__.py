"""The nouns: questions, edits, targets, options, outlines, attributions, errors. numpy only."""
