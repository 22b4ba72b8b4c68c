"""How the tiny base is pretrained: a language model on text alone, a CLIP on drawn pictures and their captions.

Two plain loops over transformers' own models. Imported by the verb that rebuilds the base, and by nothing else.
"""
