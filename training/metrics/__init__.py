"""How good a model is: measures of the exported file's samples, each beside what real data would score."""
