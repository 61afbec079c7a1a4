"""Hosting: run a bucket's logic inside a job, and run all jobs chained in one process."""
