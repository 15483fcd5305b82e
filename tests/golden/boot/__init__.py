"""Golden texts for machines: boot scripts, seeds and the flat layout."""
