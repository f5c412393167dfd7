"""What finished vectors and explanations say: neighbours, maps, dimension, scans, drift, leaks; no model is asked.

    from xplain.analyses.neighbours import nearest
    found = nearest(vectors, k=5)           # vectors [N, D], of any layer of any model

A method asks a model and returns values; an analysis is a function of arrays that are there already, so it works on
vectors from anywhere. It imports nothing but the nouns and libraries of mathematics; whoever asks hands it the vectors.
What many explanations say together is told as ``xplain.core.finding.Finding``: a lead stays a candidate until an
intervention at the model (``xplain.session.shortcuts.pasting``) confirms or refutes it.
"""
