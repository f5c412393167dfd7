"""What finished vectors say: neighbours, maps of the plane, dimension, likeness of two spaces; no model is asked.

    from xplain.analyses.neighbours import nearest
    found = nearest(vectors, k=5)           # vectors [N, D], of any layer of any model

A method asks a model and returns values; an analysis is a function of arrays that are there already, so it works on
vectors from anywhere. It imports nothing but the nouns and libraries of mathematics; whoever asks hands it the vectors.
"""
