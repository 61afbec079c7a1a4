"""Admission: which requests the quote port answers, by key, tenant and rate, and callers that are probing."""
