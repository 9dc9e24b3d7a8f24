"""The pages under docs that are generated from definitions and tables, so that they cannot say anything else."""
