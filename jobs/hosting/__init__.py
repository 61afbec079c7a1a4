"""Hosting: what runs a bucket logic inside a job, and the same jobs chained in one process."""
