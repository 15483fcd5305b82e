"""Use cases: one module per subject, one function per verb, one transaction each. Rules live here and nowhere else."""
