"""Implied and realised volatility: smiles, term structures, and where today lies in the past."""
